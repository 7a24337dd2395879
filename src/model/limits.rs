//! Limits of what a configuration may state.

use crate::error::ConfigError;

/// Hidden units of an MLP per channel in the published variants of SVTRv2.
pub(super) const MLP_RATIO: usize = 4;

// Far beyond any useful network; they keep a damaged file from asking for all memory.
const MAX_DIM: usize = 1 << 14;
const MAX_MLP_DIM: usize = MLP_RATIO * MAX_DIM;
pub(super) const MAX_BLOCKS: usize = 1 << 10;

pub(super) fn check_dim(field: &'static str, dim: usize) -> Result<(), ConfigError> {
    if (1..=MAX_DIM).contains(&dim) {
        Ok(())
    } else {
        Err(ConfigError::new(field, format!("{dim} is not in 1..={MAX_DIM}")))
    }
}

pub(super) fn check_blocks(field: &'static str, blocks: usize) -> Result<(), ConfigError> {
    if blocks <= MAX_BLOCKS {
        Ok(())
    } else {
        Err(ConfigError::new(field, format!("{blocks} is not in 0..={MAX_BLOCKS}")))
    }
}

pub(super) fn check_mlp(field: &'static str, mlp_dim: usize) -> Result<(), ConfigError> {
    if (1..=MAX_MLP_DIM).contains(&mlp_dim) {
        Ok(())
    } else {
        Err(ConfigError::new(field, format!("{mlp_dim} is not in 1..={MAX_MLP_DIM}")))
    }
}

pub(super) fn check_heads(
    field: &'static str,
    heads: usize,
    dim: usize,
) -> Result<(), ConfigError> {
    if heads >= 1 && dim.is_multiple_of(heads) {
        Ok(())
    } else {
        Err(ConfigError::new(field, format!("{heads} does not divide the dimension {dim}")))
    }
}
