//! Where the network runs, and in which number type.

#[cfg(feature = "candle")]
use crate::error::Result;
use crate::error::{ConfigError, Error};

/// Where the network runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Device {
    /// On the CPU, with this crate's own operations if the precision is [`Precision::F32`] or
    /// [`Precision::Int8`].
    #[default]
    Cpu,
    /// On the NVIDIA GPU of this number, from 0. Needs the crate feature `cuda`.
    Cuda(usize),
    /// On the Apple GPU of this number, from 0. Needs the crate feature `metal`.
    Metal(usize),
}

/// The network's number type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// Integers of 8 bits in the products of linear layers and convolutions, 32 bits elsewhere, with
    /// small errors. On the CPU only. On x86-64 it is faster than [`Precision::F32`], with AVX-512 VNNI
    /// 2.2 to 2.7 times as fast. 64-bit ARM needs dot products (the extension DotProd) to gain speed;
    /// CPUs without vectors lose some.
    Int8,
    /// 16 bits, 11 of them significant, for GPUs. Needs the crate feature `candle`; a CPU is slower
    /// in it.
    F16,
    /// 16 bits, 8 of them significant, for GPUs. Needs the crate feature `candle`; a CPU is slower
    /// in it.
    Bf16,
}

#[cfg(feature = "candle")]
impl Device {
    /// The device as candle opens it.
    pub(super) fn open(self) -> Result<candle_core::Device> {
        match self {
            Device::Cpu => Ok(candle_core::Device::Cpu),
            Device::Cuda(index) if cfg!(feature = "cuda") => {
                Ok(candle_core::Device::new_cuda(index)?)
            }
            Device::Metal(index) if cfg!(feature = "metal") => {
                Ok(candle_core::Device::new_metal(index)?)
            }
            Device::Cuda(_) => Err(lacks("Cuda", "cuda")),
            Device::Metal(_) => Err(lacks("Metal", "metal")),
        }
    }
}

#[cfg(feature = "candle")]
impl Precision {
    /// The element type of tensors.
    ///
    /// # Errors
    /// [`ConfigError`] for int8, which candle does not compute in.
    pub(super) fn dtype(self) -> Result<candle_core::DType> {
        match self {
            Precision::F32 => Ok(candle_core::DType::F32),
            Precision::F16 => Ok(candle_core::DType::F16),
            Precision::Bf16 => Ok(candle_core::DType::BF16),
            Precision::Int8 => {
                Err(ConfigError::new("precision", "Int8 needs the device Cpu".to_owned()).into())
            }
        }
    }
}

/// Why there is no such device or precision without candle: there is only the CPU in f32.
#[cfg(not(feature = "candle"))]
pub(super) fn unsupported(device: Device, precision: Precision) -> Error {
    match device {
        Device::Cpu => {
            let detail = format!("{precision:?} needs the crate feature `candle`");
            ConfigError::new("precision", detail).into()
        }
        Device::Cuda(_) => lacks("Cuda", "cuda"),
        Device::Metal(_) => lacks("Metal", "metal"),
    }
}

fn lacks(device: &str, feature: &str) -> Error {
    ConfigError::new("device", format!("{device} needs the crate feature `{feature}`")).into()
}
