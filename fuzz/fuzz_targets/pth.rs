//! PyTorch files: raw archives, or pickles of opcodes and whole values in an archive with the right
//! checksums.
#![no_main]

use libfuzzer_sys::fuzz_target;
use svtrv2_fuzz::crafted::{int, ints, pth, tensor, text};
use svtrv2_fuzz::{Bytes, open_weights};

const NAMES: [&str; 6] = [
    "state_dict",
    "encoder.pope.patch_embed.0.conv.weight",
    "encoder.stages.0.blocks.0.norm1.weight",
    "decoder.fc.weight",
    "module.",
    "a",
];
const OPCODES: &[u8] = b".(012NKMJGXUCTB)]}tldaesucRbQqrhj\x80\x81\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f\x90\x93\x94\x95";

fuzz_target!(|bytes: &[u8]| {
    if bytes.starts_with(b"PK") {
        return open_weights(bytes.to_vec());
    }
    let mut input = Bytes(bytes);
    let storage = vec![input.byte(); input.usize() % 4096];
    let mut pickle = Vec::new();
    while !input.is_empty() && pickle.len() < 1 << 16 {
        match input.byte() {
            0..16 => pickle.extend(text(NAMES[input.below(NAMES.len())])),
            16..24 => pickle.extend(text(&input.text(40))),
            24..32 => pickle.extend(int(input.u64() as i64)),
            32..48 => {
                let mut numbers = || -> Vec<i64> {
                    let rank = input.below(10);
                    (0..rank).map(|_| input.usize() as i64).collect()
                };
                let (size, stride) = (numbers(), numbers());
                let offset = input.usize() as i64;
                let key = ["0", "1"][input.below(2)];
                pickle.extend(tensor(key, offset, &ints(&size), &ints(&stride)));
            }
            48..56 => pickle.extend(b"ctorch._utils\n_rebuild_parameter\n"),
            56..64 => pickle.extend(b"ccollections\nOrderedDict\n)R"),
            64..160 => pickle.push(OPCODES[input.below(OPCODES.len())]),
            _ => pickle.push(input.byte()),
        }
    }
    open_weights(pth(&pickle, &[("0", &storage)]));
});
