//! Crafted weights files.

use svtrv2::weights::Weights;
use svtrv2::{Charset, Error, Options, Recognizer};

use crate::crafted::{dictionary, int, ints, pth, safetensors, tensor, text, zip};
#[cfg(feature = "onnx")]
use crate::crafted::{field, initializer, node, number, onnx};
#[cfg(feature = "onnx")]
use crate::graphs::{self, operation};
use crate::support::toy_config;
use crate::{KB, MB, alone, case, check};

fn open_weights(bytes: Vec<u8>) -> Result<Recognizer, String> {
    let open = || {
        let weights = Weights::from_bytes(bytes)?;
        let charset = weights.charset().is_none().then(Charset::english);
        Recognizer::new(&weights, Options { charset, ..Options::default() })
    };
    open().map_err(|error: Error| {
        assert!(
            matches!(error, Error::Weights(_) | Error::Config(_) | Error::Charset(_)),
            "{error:?}"
        );
        error.to_string()
    })
}

#[test]
fn pytorch_files() {
    let _alone = alone();
    // Memoized values: the name, the shape, the tensor; then references to them.
    let shared = |names: usize, name: &str, sizes: &[i64]| {
        let mut pickle = [&b"\x80\x02}("[..], &ints(sizes), b"q\0"].concat();
        pickle.push(b'0');
        pickle.extend([&text(name)[..], b"q\x010"].concat());
        pickle.extend([&tensor("0", 0, b"h\0", b"h\0")[..], b"q\x020"].concat());
        pickle.extend(b"h\x01h\x02".repeat(names));
        pickle.extend(b"u.");
        pth(&pickle, &[("0", &[0; 64])])
    };
    let distinct = |count: usize, size: &[i64]| {
        let mut pickle = b"\x80\x02}(".to_vec();
        pickle.extend([&tensor("0", 0, &ints(size), &ints(&[1, 1]))[..], b"q\x020"].concat());
        for i in 0..count {
            let name = format!("{i:x}");
            pickle.extend([0x8c, name.len() as u8]);
            pickle.extend(name.bytes());
            pickle.extend(b"h\x02");
        }
        pickle.extend(b"u.");
        pth(&pickle, &[("0", &[0; 64])])
    };
    let long_name = "n".repeat(50_000);
    let mut global = [text(&long_name), b"q\0".to_vec(), text("n"), b"q\x01".to_vec()].concat();
    global.extend(b"h\0h\x01\x93".repeat(10_000));
    let mut appended = b"(".to_vec();
    appended.extend(vec![b'N'; 100_000]);
    appended.extend(b"tNa.");
    let opcode = |opcode: &[u8]| pth(&opcode.repeat(100_000 / opcode.len()), &[]);
    let entry = "e".repeat(20);
    let entries: Vec<(&str, &[u8])> = vec![(&entry, b""); 1500];
    let mut claimed = zip(&[("a/data.pkl", b"}.")]);
    let end = claimed.len() - 22;
    claimed[end + 8..end + 12].fill(0xff);
    let below_a_mark = dictionary(&[(text("a"), b"K\x01(\x85t".to_vec())]);
    let huge = tensor("0", 0, &ints(&[1 << 40, 1 << 40]), &ints(&[0, 0]));
    let cases = vec![
        case("tuple popped below a mark", pth(&below_a_mark, &[]), "too few values", 64 * KB),
        case("many dimensions, shared", shared(20_000, "a", &[1; 2000]), "dimensions", 8 * MB),
        case("one long name, shared", shared(20_000, &long_name, &[1, 1]), "name has", 8 * MB),
        case("one name again and again", shared(20_000, "a", &[1, 1]), "twice", 8 * MB),
        case("many names of one tensor", distinct(12_000, &[1, 1]), "named encoder", 8 * MB),
        case("many names of an empty tensor", distinct(12_000, &[0, 1]), "named encoder", 12 * MB),
        case("long names of globals", pth(&global, &[]), "global", 8 * MB),
        case("appending to a long tuple", pth(&appended, &[]), "appended to", 8 * MB),
        case("lists", opcode(b"]"), "more than", 8 * MB),
        case("dictionaries", opcode(b"}"), "more than", 8 * MB),
        case("marks", opcode(b"("), "breaks off", 8 * MB),
        case(
            "copies of the top",
            pth(&[&b"N"[..], &[b'2'; 100_000]].concat(), &[]),
            "breaks",
            8 * MB,
        ),
        case("memo", opcode(b"N\x94"), "breaks off", 8 * MB),
        case("tuples of tuples", pth(&[&b")"[..], &[0x85; 100_000]].concat(), &[]), "more", 8 * MB),
        case("archive of many entries", zip(&entries), "without data.pkl", 8 * MB),
        case("archive that claims 65 535 entries", claimed, "", MB),
        case(
            "tensor of 2^80 elements",
            pth(&dictionary(&[(text("a"), huge)]), &[("0", &[0; 64])]),
            "exceeds its storage",
            64 * KB,
        ),
        case(
            "negative sizes",
            pth(
                &dictionary(&[(text("a"), tensor("0", 0, &ints(&[-1]), &int(1)))]),
                &[("0", &[0; 64])],
            ),
            "the file holds no tensors",
            64 * KB,
        ),
    ];
    check("pth", cases, open_weights);
}

#[cfg(feature = "onnx")]
#[test]
fn onnx_files() {
    let _alone = alone();
    let weight = initializer("w", &[32, 32], &[0; 4096]);
    let mut shared = vec![weight.clone()];
    shared.extend((0..2000).map(|i| node(&format!("/m{i}/MatMul"), "MatMul", &["x", "w"])));
    let rank = field(5, &[field(1, &[1; 50_000]), number(2, 1), field(8, b"w.w")].concat());
    let long = "n".repeat(50_000);
    let long_node = vec![weight.clone(), node(&format!("/{long}/MatMul"), "MatMul", &["x", "w"])];
    let floats = field(
        5,
        &[number(1, 4), number(2, 1), field(8, b"w.w"), [0x25, 0, 0, 0, 0].repeat(3)].concat(),
    );
    let negative = initializer("a.b", &[u64::MAX], &[]);
    let product = initializer("a.b", &[1 << 40, 1 << 40], &[]);
    // Graphs that their structure would tell.
    let conv = |input: &str, output: &str| operation("Conv", &[input, "w"], &[output], &[]);
    let ends = [field(11, &field(1, b"x")), field(12, &field(1, b"y"))];
    let kernel = initializer("w", &[1, 1, 1, 1], &[0; 4]);
    let structure =
        |nodes: Vec<Vec<u8>>| onnx(&[&ends[..], std::slice::from_ref(&kernel), &nodes].concat());
    let copies = |kind: &str, count: usize| {
        let value = |i: usize| if i == 0 { "x".to_owned() } else { format!("{i:x}") };
        let copy = |i: usize| operation(kind, &[&value(i)], &[&value(i + 1)], &[]);
        let mut nodes: Vec<Vec<u8>> = (0..count).map(copy).collect();
        nodes.push(conv(&value(count), "y"));
        nodes
    };
    let wide = operation("Conv", &["x", "w"].repeat(50_000), &["y"; 50_000], &[]);
    let attribute = graphs::attribute_ints("pads", &[1; 100_000]);
    let long_list = operation("Conv", &["x", "w"], &["y"], &[attribute]);
    let dictionary = graphs::metadata("character", &"a\n".repeat(300_000));
    let cases = vec![
        case("a million nodes", structure(vec![conv("x", "y"); 1_000_000]), "more than 65536", MB),
        case("a loop", structure(vec![conv("z", "y"), conv("y", "z")]), "no node before", 64 * KB),
        case("60 000 copies", structure(copies("Identity", 60_000)), "not the classifier", 40 * MB),
        case("60 000 roots", structure(copies("Sqrt", 60_000)), "not the classifier", 40 * MB),
        case("a node of 50 000 values", structure(vec![wide]), "twice", MB),
        case("a list of 100 000 numbers", structure(vec![long_list]), "not the classifier", MB),
        case("300 000 lines", [structure(vec![]), dictionary].concat(), "symbols", 32 * MB),
        case("one weight of many nodes", onnx(&shared), "too often", 4 * MB),
        case("many dimensions", onnx(&[rank]), "dimensions", MB),
        case("a long name", onnx(&[initializer(&long, &[1], &[0; 4])]), "name has", MB),
        case("a node's long name", onnx(&long_node), "name has", MB),
        case("empty tensors", onnx(&vec![field(5, b""); 50_000]), "twice", MB),
        case("empty nodes", onnx(&vec![field(1, b""); 50_000]), "no tensors", MB),
        case(
            "inputs of a node",
            onnx(&[field(1, &field(1, b"").repeat(50_000))]),
            "no tensors",
            MB,
        ),
        case("numbers one by one", onnx(&[floats]), "12 bytes for the shape", 64 * KB),
        case("a negative size", onnx(&[negative]), "shape", 64 * KB),
        case("a size of 2^80", onnx(&[product]), "0 bytes for the shape", 64 * KB),
        case("two graphs", [onnx(&[]), field(7, b"")].concat(), "several graphs", 64 * KB),
    ];
    check("onnx", cases, open_weights);
}

fn metadata(config: &str, charset: &str, quantized: &str) -> String {
    let json = format!(r#"{{"config":{config},"charset":{charset}{quantized}}}"#);
    serde_json::json!({ "svtrv2": json }).to_string()
}

#[test]
fn safetensors_files() {
    let _alone = alone();
    let config = serde_json::to_string(&toy_config()).unwrap();
    let overflowing =
        config.replacen("\"local_blocks\":1", "\"local_blocks\":18446744073709551615", 1);
    let blocks = config.replacen("\"local_blocks\":1", "\"local_blocks\":1000", 1);
    assert!(overflowing != config && blocks != config);
    let with = |metadata: &str, tensors: &str, data: &[u8]| {
        safetensors(&format!(r#"{{"__metadata__":{metadata}{tensors}}}"#), data)
    };
    let english = serde_json::to_string(Charset::english().symbols()).unwrap();
    let many = format!("[{}\"\"]", "\"a\",".repeat(300_000));
    let many_dimensions = format!(
        r#","a":{{"dtype":"F32","shape":[{}0],"data_offsets":[0,0]}}"#,
        "1,".repeat(40_000)
    );
    let names: String = (0..40_000)
        .map(|i| {
            format!(
                r#","{i:x}":{{"dtype":"F32","shape":[],"data_offsets":[{},{}]}}"#,
                4 * i,
                4 * i + 4
            )
        })
        .collect();
    let vectors = ["norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"];
    let vectors: String = vectors
        .iter()
        .map(|name| {
            let name = format!("encoder.pope.patch_embed.0.{name}");
            format!(r#","{name}":{{"dtype":"F32","shape":[0],"data_offsets":[4,4]}}"#)
        })
        .collect();
    let scalar = r#""encoder.pope.patch_embed.0.conv.weight":{"dtype":"F32","shape":[],"data_offsets":[0,4]}"#;
    let scalar = safetensors(&format!("{{{scalar}{vectors}}}"), &[0; 4]);
    let quantized = |shape: &str| {
        let entry = format!(r#","quantized":{{"version":1,"shapes":{{"a":{shape}}}}}"#);
        with(
            &metadata(&config, &english, &entry),
            r#","a.rans":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"a.scales":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}"#,
            &[0; 12],
        )
    };
    let rank = format!("[{}1]", "1,".repeat(40_000));
    let cases = vec![
        case("scalar convolution weight", scalar, "no dimensions", 64 * KB),
        case(
            "block counts that overflow",
            with(&metadata(&overflowing, &english, ""), "", &[]),
            "blocks",
            256 * KB,
        ),
        case(
            "1000 blocks, no tensors",
            with(&metadata(&blocks, &english, ""), "", &[]),
            "blocks",
            256 * KB,
        ),
        case("300 000 symbols", with(&metadata(&config, &many, ""), "", &[]), "symbols", 24 * MB),
        case(
            "header of 2^63 bytes",
            [&(1u64 << 63).to_le_bytes()[..], b"{}"].concat(),
            "a header of",
            64 * KB,
        ),
        case(
            "header of 97 MB",
            [&97_000_000u64.to_le_bytes()[..], &vec![b'{'; 97_000_000]].concat(),
            "a header of",
            MB,
        ),
        case("many dimensions", with("{}", &many_dimensions, &[]), "", 8 * MB),
        case("40 000 tensors", with("{}", &names, &[0; 160_000]), "named encoder", 64 * MB),
        case(
            "quantised: shape overflows",
            quantized("[4294967296,4294967296]"),
            "overflows",
            256 * KB,
        ),
        case("quantised: 2^40 integers", quantized("[1,1099511627776]"), "do not fit", 256 * KB),
        case("quantised: many dimensions", quantized(&rank), "dimensions", 8 * MB),
    ];
    check("safetensors", cases, open_weights);
}
