//! Files made by hand, right or wrong: pickles and zip archives, protocol buffers, safetensors, PNG.

#![allow(dead_code, reason = "each test file uses a part")]

/// The checksum of zip and PNG (CRC-32, reflected polynomial 0xedb88320).
pub fn crc32(bytes: &[u8]) -> u32 {
    // What a byte makes of a checksum that it is the lowest byte of.
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let (mut crc, mut bit) = (byte as u32, 0);
            while bit < 8 {
                crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
                bit += 1;
            }
            table[byte] = crc;
            byte += 1;
        }
        table
    };
    let next = |crc: u32, &byte: &u8| (crc >> 8) ^ TABLE[usize::from(crc as u8 ^ byte)];
    !bytes.iter().fold(!0, next)
}

/// A zip archive of entries as they are, with the right checksums.
pub fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in entries {
        let offset = out.len() as u32;
        let size = (bytes.len() as u32).to_le_bytes();
        let name_len = (name.len() as u16).to_le_bytes();
        // Version, flags, method, time, date; checksum, sizes; lengths of name and extra field.
        let common = [
            &[20, 0, 0, 0, 0, 0, 0, 0, 0, 0][..],
            &crc32(bytes).to_le_bytes(),
            &size,
            &size,
            &name_len,
            &[0, 0],
        ]
        .concat();
        directory
            .extend([&b"PK\x01\x02\x14\0"[..], &common, &[0; 10], &offset.to_le_bytes()].concat());
        directory.extend(name.bytes());
        out.extend([b"PK\x03\x04", &common[..], name.as_bytes(), bytes].concat());
    }
    let (count, start) = (entries.len() as u16, out.len() as u32);
    let size = directory.len() as u32;
    out.extend(directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend([count.to_le_bytes(), count.to_le_bytes()].concat());
    out.extend([size.to_le_bytes(), start.to_le_bytes()].concat());
    out.extend([0, 0]);
    out
}

/// A PyTorch file of a pickle and storages.
pub fn pth(pickle: &[u8], storages: &[(&str, &[u8])]) -> Vec<u8> {
    let names: Vec<String> = storages.iter().map(|(key, _)| format!("a/data/{key}")).collect();
    let mut entries = vec![("a/data.pkl", pickle)];
    entries.extend(names.iter().zip(storages).map(|(name, (_, bytes))| (name.as_str(), *bytes)));
    zip(&entries)
}

/// Opcodes of a pickled text.
pub fn text(text: &str) -> Vec<u8> {
    [&b"X"[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}

/// Opcodes of a pickled number.
pub fn int(value: i64) -> Vec<u8> {
    [&b"\x8a\x08"[..], &value.to_le_bytes()].concat()
}

/// Opcodes of a tuple of numbers.
pub fn ints(values: &[i64]) -> Vec<u8> {
    [&b"("[..], &values.iter().flat_map(|&value| int(value)).collect::<Vec<_>>(), b"t"].concat()
}

/// Opcodes of a tensor in a storage of f32; `size` and `stride` are opcodes of tuples.
pub fn tensor(storage: &str, offset: i64, size: &[u8], stride: &[u8]) -> Vec<u8> {
    [
        &b"ctorch._utils\n_rebuild_tensor_v2\n("[..],
        &persistent(storage, "FloatStorage"),
        &int(offset),
        size,
        stride,
        b"\x89}tR",
    ]
    .concat()
}

fn persistent(key: &str, class: &str) -> Vec<u8> {
    let class = format!("ctorch\n{class}\n");
    [&b"("[..], &text("storage"), class.as_bytes(), &text(key), &text("cpu"), b"K\x01tQ"].concat()
}

/// A pickle of a dictionary, of opcodes of keys and values.
pub fn dictionary(items: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let items: Vec<u8> =
        items.iter().flat_map(|(key, value)| [key.as_slice(), value].concat()).collect();
    [&b"\x80\x02}("[..], &items, b"u."].concat()
}

/// A number of a protocol buffer.
pub fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 128 {
        out.push(value as u8 | 128);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// A field of bytes, text, or a message.
pub fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    [varint(number << 3 | 2), varint(bytes.len() as u64), bytes.to_vec()].concat()
}

/// A field of a number.
pub fn number(number: u64, value: u64) -> Vec<u8> {
    [varint(number << 3), varint(value)].concat()
}

/// An ONNX model of fields of its graph.
pub fn onnx(graph: &[Vec<u8>]) -> Vec<u8> {
    [number(1, 8), field(7, &graph.concat()), field(8, &number(2, 17))].concat()
}

/// An initialiser of f32, as a field of a graph.
pub fn initializer(name: &str, dims: &[u64], bytes: &[u8]) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|&size| number(1, size)).collect();
    field(5, &[dims, number(2, 1), field(8, name.as_bytes()), field(9, bytes)].concat())
}

/// A node, as a field of a graph.
pub fn node(name: &str, kind: &str, inputs: &[&str]) -> Vec<u8> {
    let inputs: Vec<u8> = inputs.iter().flat_map(|input| field(1, input.as_bytes())).collect();
    field(1, &[inputs, field(3, name.as_bytes()), field(4, kind.as_bytes())].concat())
}

/// A safetensors file of a header and data.
pub fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// A PNG file that says so much of its size, with pixels that break off at once.
pub fn png_of_size(width: u32, height: u32, depth: u8, color: u8) -> Vec<u8> {
    let chunk = |kind: &[u8; 4], data: &[u8]| {
        let body = [&kind[..], data].concat();
        [&(data.len() as u32).to_be_bytes(), &body[..], &crc32(&body).to_be_bytes()].concat()
    };
    let size = [width.to_be_bytes(), height.to_be_bytes()].concat();
    let header = [&size[..], &[depth, color, 0, 0, 0]].concat();
    [
        b"\x89PNG\r\n\x1a\n".to_vec(),
        chunk(b"IHDR", &header),
        // A zlib stream of one empty block.
        chunk(b"IDAT", b"\x78\x01\x01\0\0\xff\xff\0\0\0\x01"),
        chunk(b"IEND", b""),
    ]
    .concat()
}
