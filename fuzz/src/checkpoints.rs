//! Checkpoints of a training of a small network, with changes.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use candle_core::Device;
use serde_json::{Value, json};
use svtrv2::Charset;
use svtrv2::train::{
    LabelledCrop, LoaderOptions, Network, Recipe, Source, Trainer, WeightedSource,
};

use crate::crafted::safetensors;
use crate::seeds::smallest_config;
use crate::{Bytes, MB, single_thread, within};

/// Three crops.
struct Crops;

impl Source for Crops {
    fn len(&self) -> Option<u64> {
        Some(3)
    }

    fn crop(&self, index: u64) -> Result<LabelledCrop, String> {
        let image = image::RgbImage::from_pixel(8, 8, image::Rgb([index as u8; 3]));
        Ok(LabelledCrop { name: String::new(), image, label: "a".to_owned() })
    }
}

fn sources() -> Vec<WeightedSource> {
    vec![(Arc::new(Crops), 1.0)]
}

fn loading() -> LoaderOptions {
    LoaderOptions { workers: 0, ..LoaderOptions::default() }
}

#[derive(Clone)]
struct Tensor {
    name: String,
    dtype: &'static str,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// A file that checkpoints are written to, and the parts of a good one.
struct Setting {
    path: PathBuf,
    metadata: Value,
    tensors: Vec<Tensor>,
}

fn setting() -> &'static Setting {
    static SETTING: OnceLock<Setting> = OnceLock::new();
    SETTING.get_or_init(|| {
        single_thread();
        make_setting().expect("a checkpoint")
    })
}

fn make_setting() -> Result<Setting, Box<dyn std::error::Error>> {
    let root = if std::path::Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "/tmp" };
    let folder = tempfile::Builder::new().prefix("svtrv2-fuzz").tempdir_in(root)?.keep();
    let path = folder.join("last.safetensors");
    let network = Network::new(&smallest_config(), &Device::Cpu, 0)?;
    let charset = Charset::from_characters("ab")?;
    // Samples of another size wait: the loader's state has some.
    let recipe =
        Recipe { steps: 8, batch_size: 2, sgm_weight: 1.0, average: 0.5, ..Recipe::default() };
    let mut trainer = Trainer::new(network, charset, recipe, sources(), loading())?;
    trainer.step()?;
    trainer.save(&path)?;
    let bytes = std::fs::read(&path)?;
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes)?;
    let entry = header.metadata().as_ref().and_then(|entries| entries.get("svtrv2"));
    let metadata = serde_json::from_str(entry.ok_or("no metadata")?)?;
    let file = safetensors::SafeTensors::deserialize(&bytes)?;
    let tensors = file.iter().map(|(name, view)| {
        let (name, bytes) = (name.to_owned(), view.data().to_vec());
        Tensor { name, dtype: "F32", shape: view.shape().to_vec(), bytes }
    });
    Ok(Setting { path, metadata, tensors: tensors.collect() })
}

/// Takes weights out of a checkpoint, and goes on from it.
pub fn open(bytes: &[u8]) {
    let Setting { path, metadata, tensors } = setting();
    let mut input = Bytes(bytes);
    let run = input.byte() % 4 == 1;
    let file = if bytes.get(8) == Some(&b'{') {
        bytes.to_vec()
    } else {
        let (mut metadata, mut tensors) = (metadata.clone(), tensors.clone());
        for _ in 0..8 {
            if input.is_empty() {
                break;
            }
            if input.byte() < 160 {
                change_value(&mut metadata, &mut input);
            } else {
                change_tensor(&mut tensors, &mut input);
            }
        }
        write(&metadata, &tensors)
    };
    std::fs::write(path, &file).expect("a file");
    within(16 * MB + 300 * file.len(), || {
        let _ = Trainer::weights_of(path);
        let Ok(mut trainer) = Trainer::resume(path, sources(), loading(), &Device::Cpu) else {
            return;
        };
        let Recipe { batch_size, accumulate, .. } = *trainer.recipe();
        if run && !trainer.is_done() && batch_size.saturating_mul(accumulate) <= 8 {
            let _ = trainer.step();
        }
    });
}

/// Replaces a value somewhere below.
fn change_value(value: &mut Value, input: &mut Bytes) {
    let step = input.byte();
    match value {
        Value::Object(fields) if step >= 16 && !fields.is_empty() => {
            let place = usize::from(step) % fields.len();
            let field = fields.iter_mut().nth(place);
            return field.into_iter().for_each(|(_, field)| change_value(field, input));
        }
        Value::Array(values) if step >= 64 && !values.is_empty() => {
            let place = usize::from(step) % values.len();
            return change_value(&mut values[place], input);
        }
        Value::Array(values) if step >= 32 => {
            let copy = values.first().cloned().unwrap_or(json!(0));
            return values.resize(input.below(200), copy);
        }
        _ => {}
    }
    *value = match input.byte() % 10 {
        0 => Value::Null,
        1 => json!(input.usize()),
        2 => json!(input.u64()),
        3 => json!(input.u64() as i64),
        4 => json!(input.f32()),
        5 => json!(f64::from_bits(input.u64())),
        6 => json!(input.text(20)),
        7 => json!([]),
        8 => json!(input.byte() & 1 == 1),
        _ => json!({ "number": input.usize(), "source": input.usize(), "index": input.usize() }),
    };
}

/// Removes or changes a tensor.
fn change_tensor(tensors: &mut Vec<Tensor>, input: &mut Bytes) {
    if tensors.is_empty() {
        return;
    }
    let number = (usize::from(input.byte()) << 8 | usize::from(input.byte())) % tensors.len();
    let tensor = &mut tensors[number];
    match input.below(6) {
        0 => drop(tensors.remove(number)),
        1 => tensor.name = input.text(40),
        2 => tensor.dtype = ["F16", "F64", "I64", "BOOL", "F32"][input.below(5)],
        3 => tensor.bytes.fill(input.byte()),
        4 => {
            tensor.shape = (0..input.below(12)).map(|_| input.usize()).collect();
            let count =
                tensor.shape.iter().fold(4, |count: usize, size| count.saturating_mul(*size));
            tensor.bytes.resize(count.min(4096), 0);
        }
        _ => {
            let copy = Tensor { name: input.text(40), ..tensor.clone() };
            tensors.push(copy);
        }
    }
}

fn write(metadata: &Value, tensors: &[Tensor]) -> Vec<u8> {
    let (mut header, mut data) = (String::new(), Vec::new());
    for Tensor { name, dtype, shape, bytes } in tensors {
        let start = data.len();
        data.extend(bytes);
        let (name, end) = (Value::from(name.as_str()), data.len());
        header += &format!(
            r#",{name}:{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{start},{end}]}}"#
        );
    }
    let metadata = Value::from(metadata.to_string());
    safetensors(&format!(r#"{{"__metadata__":{{"svtrv2":{metadata}}}{header}}}"#), &data)
}
