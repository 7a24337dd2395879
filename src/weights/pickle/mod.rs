//! A reader of Python pickles that builds values and runs nothing.
//!
//! It knows the opcodes that `torch.save` writes (protocol 2) and those of protocols up to 4 that
//! ordinary checkpoints hold besides the tensors. Globals are names, calls are recorded, not made.
//! Values live in an arena and refer to each other by number, so that no nesting, however deep,
//! can exhaust the stack.

mod machine;

use machine::Machine;

/// A value's place in the arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Id(u32);

impl Id {
    fn index(self) -> usize {
        self.0 as usize
    }
}

/// A pickled value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Text(String),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// `module.name`
    Global(String),
    /// A recorded call. Items set on its result (an `OrderedDict`'s) are kept with it.
    Call {
        callable: Id,
        arguments: Id,
        items: Vec<(Id, Id)>,
    },
    /// A reference to something outside the pickle: a storage.
    Persistent(Id),
    /// Numbers and bytes that no tensor description needs.
    Other,
}

impl Value {
    /// What it is, for messages: a value itself may be as long as the file.
    fn kind(&self) -> &'static str {
        match self {
            Value::None => "None",
            Value::Bool(_) => "a bool",
            Value::Int(_) => "a number",
            Value::Text(_) => "a text",
            Value::Tuple(_) => "a tuple",
            Value::List(_) => "a list",
            Value::Dict(_) => "a dictionary",
            Value::Global(_) => "a global",
            Value::Call { .. } => "the result of a call",
            Value::Persistent(_) => "a storage",
            Value::Other => "something else",
        }
    }
}

/// A whole pickle.
#[derive(Debug)]
pub(super) struct Pickle {
    arena: Vec<Value>,
    root: Id,
}

impl Pickle {
    /// Reads a pickle up to its STOP.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let (arena, root) = Machine::new(bytes).finish()?;
        Ok(Pickle { arena, root })
    }

    pub(super) fn root(&self) -> Id {
        self.root
    }

    pub(super) fn get(&self, id: Id) -> &Value {
        &self.arena[id.index()]
    }

    pub(super) fn int(&self, id: Id) -> Option<i64> {
        match self.get(id) {
            Value::Int(value) => Some(*value),
            _ => None,
        }
    }

    pub(super) fn text(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn tuple(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::Tuple(items) | Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// The callable's name and the arguments of a recorded call.
    pub(super) fn call(&self, id: Id) -> Option<(&str, &[Id])> {
        match self.get(id) {
            Value::Call { callable, arguments, .. } => match self.get(*callable) {
                Value::Global(name) => Some((name, self.tuple(*arguments)?)),
                _ => None,
            },
            _ => None,
        }
    }

    /// The items of a dict, or of a call's result that items were set on.
    pub(super) fn items(&self, id: Id) -> Option<&[(Id, Id)]> {
        match self.get(id) {
            Value::Dict(items) | Value::Call { items, .. } => Some(items),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn integers() {
        let cases: [(&[u8], Value); 5] = [
            (b"\x80\x02K\x07.", Value::Int(7)),
            (b"\x80\x02J\xff\xff\xff\xff.", Value::Int(-1)),
            (b"\x80\x02\x8a\x01\xff.", Value::Int(-1)),
            (b"\x80\x02\x8a\x00.", Value::Int(0)),
            (b"\x80\x02\x8a\x09123456789.", Value::Other),
        ];
        for (bytes, expected) in cases {
            let pickle = Pickle::parse(bytes).unwrap();
            assert_eq!(pickle.get(pickle.root()), &expected);
        }
    }

    #[test]
    fn hostile() {
        let long = [b"X\x80\0\0\0".as_slice(), &[b'g'; 128], b"q\0h\0", b"X\x81\0\0\0"];
        let long = [long.concat(), vec![b'n'; 129], b"\x93.".to_vec()].concat();
        let many = [vec![b']'; 100], b".".to_vec()].concat();
        let cases: [(&[u8], &str); 15] = [
            (b"K\x01(\x85t.", "too few"),
            (b"K\x01K\x02(0t.", "without operands"),
            (b"K\x01(b.", "without operands"),
            (b"NNa.", "appended to None"),
            (b")NNs.", "set on a tuple"),
            (&long, "name of a global"),
            (&many, "more than 66 values"),
            (b"", "breaks off"),
            (b"X\xff\xff\xff\xffa", "breaks off"),
            (b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffa", "breaks off"),
            (b"\x87.", "too few"),
            (b"t.", "mark"),
            (b"h\x00.", "reference"),
            (b"(K\x01d.", "key"),
            (b"\x7f", "opcode"),
        ];
        for (bytes, part) in cases {
            let error = Pickle::parse(bytes).unwrap_err();
            assert!(error.contains(part), "{bytes:?}: {error}");
        }
    }

    #[test]
    fn deep_nesting() {
        let mut bytes = vec![b')'];
        // Each is memoized, as Python does it.
        bytes.extend([0x85, b'q', 0].repeat(1_000_000));
        bytes.push(b'.');
        drop(Pickle::parse(&bytes).unwrap());
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Pickle::parse(&bytes);
        }
    }
}
