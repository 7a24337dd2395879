//! The machine that pickles are programs for.

use std::collections::HashMap;

use super::{Id, Value};

/// The most values, entries of the stack and of the memo: a checkpoint's pickle has about 20 values
/// for each tensor.
const MAX_VALUES: usize = 1 << 22;
/// Bytes of the longest name of a global; those of PyTorch have about 40. A pickle can join two
/// long texts to a name again and again.
const MAX_GLOBAL: usize = 256;

// Values that do not change are in the arena once.
const NONE: Id = Id(0);
const TRUE: Id = Id(1);
const FALSE: Id = Id(2);
const OTHER: Id = Id(3);
const EMPTY_TUPLE: Id = Id(4);

pub(super) struct Machine<'a> {
    input: &'a [u8],
    arena: Vec<Value>,
    most_values: usize,
    stack: Vec<Id>,
    /// Heights of the stack at the open marks.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
}

type Fault = String;

impl<'a> Machine<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Machine {
            input,
            arena: vec![
                Value::None,
                Value::Bool(true),
                Value::Bool(false),
                Value::Other,
                Value::Tuple(Vec::new()),
            ],
            // Python writes at least two bytes for all other values.
            most_values: (input.len() / 2 + 16).min(MAX_VALUES),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        }
    }

    /// Runs up to the STOP; all values, and the one that is left.
    pub(super) fn finish(mut self) -> Result<(Vec<Value>, Id), Fault> {
        let root = self.run()?;
        Ok((self.arena, root))
    }

    fn run(&mut self) -> Result<Id, Fault> {
        loop {
            let [opcode] = self.array()?;
            match opcode {
                b'.' => return self.pop(),
                opcode => self.step(opcode)?,
            }
        }
    }

    fn step(&mut self, opcode: u8) -> Result<(), Fault> {
        match opcode {
            0x80 => {
                let [_protocol] = self.array()?;
            }
            0x95 => {
                self.array::<8>()?;
            }
            b'(' => {
                check_count(self.marks.len())?;
                self.marks.push(self.stack.len());
            }
            b'0' => {
                self.pop()?;
            }
            b'1' => {
                self.pop_to_mark()?;
            }
            b'2' => {
                let top = self.top()?;
                self.push_id(top)?;
            }
            b'N' => self.push_id(NONE)?,
            0x88 => self.push_id(TRUE)?,
            0x89 => self.push_id(FALSE)?,
            b'K' => {
                let [value] = self.array()?;
                self.push(Value::Int(value.into()))?;
            }
            b'M' => {
                let value = u16::from_le_bytes(self.array()?);
                self.push(Value::Int(value.into()))?;
            }
            b'J' => {
                let value = i32::from_le_bytes(self.array()?);
                self.push(Value::Int(value.into()))?;
            }
            0x8a => {
                let [len] = self.array()?;
                let value = little_endian(self.take(len.into())?);
                self.push(value)?;
            }
            0x8b => {
                let len = u32::from_le_bytes(self.array()?);
                let value = little_endian(self.take(u64::from(len))?);
                self.push(value)?;
            }
            b'G' => {
                self.array::<8>()?;
                self.push_id(OTHER)?;
            }
            b'X' => {
                let len = u32::from_le_bytes(self.array()?);
                self.push_text(len.into())?;
            }
            0x8c => {
                let [len] = self.array()?;
                self.push_text(len.into())?;
            }
            0x8d => {
                let len = u64::from_le_bytes(self.array()?);
                self.push_text(len)?;
            }
            // Byte strings: SHORT_BINSTRING, BINSTRING, SHORT_BINBYTES, BINBYTES, BINBYTES8.
            b'U' | b'C' => {
                let [len] = self.array()?;
                self.push_bytes(len.into())?;
            }
            b'T' | b'B' => {
                let len = u32::from_le_bytes(self.array()?);
                self.push_bytes(len.into())?;
            }
            0x8e => {
                let len = u64::from_le_bytes(self.array()?);
                self.push_bytes(len)?;
            }
            b')' => self.push_id(EMPTY_TUPLE)?,
            b']' => self.push(Value::List(Vec::new()))?,
            b'}' => self.push(Value::Dict(Vec::new()))?,
            0x8f => self.push_id(OTHER)?,
            b't' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Tuple(items))?;
            }
            0x85..=0x87 => {
                let len = usize::from(opcode - 0x84);
                let at = self.stack.len().checked_sub(len).filter(|&at| at >= self.floor());
                let items = self.stack.split_off(at.ok_or("a tuple of too few values")?);
                self.push(Value::Tuple(items))?;
            }
            b'l' => {
                let items = self.pop_to_mark()?;
                self.push(Value::List(items))?;
            }
            b'd' => {
                let items = pairs(self.pop_to_mark()?)?;
                self.push(Value::Dict(items))?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.append(items)?;
            }
            // ADDITEMS: sets are of no interest.
            0x90 => {
                self.pop_to_mark()?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(vec![(key, value)])?;
            }
            b'u' => {
                let items = pairs(self.pop_to_mark()?)?;
                self.set_items(items)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Value::Global(global(&module, &name)?))?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (&self.arena[module.index()], &self.arena[name.index()]) {
                    (Value::Text(module), Value::Text(name)) => {
                        let global = global(module, name)?;
                        self.push(Value::Global(global))?;
                    }
                    _ => return Err("a global without a name".into()),
                }
            }
            // REDUCE and NEWOBJ: a callable or class, and arguments.
            b'R' | 0x81 => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                self.push(Value::Call { callable, arguments, items: Vec::new() })?;
            }
            // BUILD sets attributes: a state dict's have nothing to do with its tensors.
            b'b' => {
                self.pop()?;
                self.top()?;
            }
            b'Q' => {
                let id = self.pop()?;
                self.push(Value::Persistent(id))?;
            }
            b'q' => {
                let [key] = self.array()?;
                self.memoize(key.into())?;
            }
            b'r' => {
                let key = u32::from_le_bytes(self.array()?);
                self.memoize(key.into())?;
            }
            0x94 => self.memoize(self.memo.len() as u64)?,
            b'h' => {
                let [key] = self.array()?;
                self.recall(key.into())?;
            }
            b'j' => {
                let key = u32::from_le_bytes(self.array()?);
                self.recall(key.into())?;
            }
            other => return Err(format!("unknown pickle opcode 0x{other:02x}")),
        }
        Ok(())
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], Fault> {
        let taken = usize::try_from(len).ok().and_then(|len| self.input.split_at_checked(len));
        let (taken, rest) = taken.ok_or("the pickle breaks off")?;
        self.input = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (array, rest) = self.input.split_first_chunk().ok_or("the pickle breaks off")?;
        self.input = rest;
        Ok(*array)
    }

    fn line(&mut self) -> Result<String, Fault> {
        let len = self.input.iter().position(|&byte| byte == b'\n');
        let line = self.take(len.ok_or("the pickle breaks off")? as u64)?;
        self.array::<1>()?;
        Ok(String::from_utf8_lossy(line.get(..MAX_GLOBAL + 1).unwrap_or(line)).into_owned())
    }

    fn push(&mut self, value: Value) -> Result<(), Fault> {
        let count = self.arena.len();
        if count >= self.most_values {
            return Err(format!("more than {count} values"));
        }
        let id = u32::try_from(count).map_err(|_| "too many values")?;
        self.push_id(Id(id))?;
        self.arena.push(value);
        Ok(())
    }

    fn push_id(&mut self, id: Id) -> Result<(), Fault> {
        check_count(self.stack.len())?;
        self.stack.push(id);
        Ok(())
    }

    /// Where the values of the last open mark begin: nothing below is taken from the stack.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn push_text(&mut self, len: u64) -> Result<(), Fault> {
        let text = str::from_utf8(self.take(len)?).map_err(|_| "a string is not UTF-8")?;
        self.push(Value::Text(text.to_owned()))
    }

    fn push_bytes(&mut self, len: u64) -> Result<(), Fault> {
        self.take(len)?;
        self.push_id(OTHER)
    }

    fn pop(&mut self) -> Result<Id, Fault> {
        if self.stack.len() <= self.floor() {
            return Err("an operation without operands".into());
        }
        self.stack.pop().ok_or_else(|| "an operation without operands".into())
    }

    fn top(&self) -> Result<Id, Fault> {
        self.stack.last().copied().ok_or_else(|| "an operation without operands".into())
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, Fault> {
        let mark = self.marks.pop().ok_or("a mark is missing")?;
        if mark > self.stack.len() {
            return Err("values below a mark were taken".into());
        }
        Ok(self.stack.split_off(mark))
    }

    fn append(&mut self, new: Vec<Id>) -> Result<(), Fault> {
        let list = self.top()?;
        match &mut self.arena[list.index()] {
            Value::List(items) => items.extend(new),
            // Lists made by calls (subclasses) hold nothing of interest.
            Value::Call { .. } | Value::Other => {}
            other => return Err(format!("items appended to {}", other.kind())),
        }
        Ok(())
    }

    fn set_items(&mut self, new: Vec<(Id, Id)>) -> Result<(), Fault> {
        let dict = self.top()?;
        match &mut self.arena[dict.index()] {
            Value::Dict(items) | Value::Call { items, .. } => items.extend(new),
            other => return Err(format!("items set on {}", other.kind())),
        }
        Ok(())
    }

    fn memoize(&mut self, key: u64) -> Result<(), Fault> {
        let top = self.top()?;
        check_count(self.memo.len())?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: u64) -> Result<(), Fault> {
        let id = *self.memo.get(&key).ok_or("a reference to nothing")?;
        self.push_id(id)
    }
}

fn check_count(count: usize) -> Result<(), Fault> {
    if count < MAX_VALUES { Ok(()) } else { Err(format!("more than {MAX_VALUES} values")) }
}

/// A global's name.
fn global(module: &str, name: &str) -> Result<String, Fault> {
    if module.len() + name.len() > MAX_GLOBAL {
        return Err("the name of a global is too long".into());
    }
    Ok(format!("{module}.{name}"))
}

fn pairs(items: Vec<Id>) -> Result<Vec<(Id, Id)>, Fault> {
    match items.as_chunks::<2>() {
        (pairs, []) => Ok(pairs.iter().map(|&[key, value]| (key, value)).collect()),
        _ => Err("a key without a value".into()),
    }
}

/// A two's complement integer; one beyond 64 bits is of no use to a tensor.
fn little_endian(bytes: &[u8]) -> Value {
    let negative = bytes.last().is_some_and(|&byte| byte >= 0x80);
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    match wide.get_mut(..bytes.len()) {
        Some(low) => {
            low.copy_from_slice(bytes);
            Value::Int(i64::from_le_bytes(wide))
        }
        None => Value::Other,
    }
}
