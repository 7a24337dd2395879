//! Errors of images and of regions of a page.

use std::path::PathBuf;

/// Why an image cannot be recognised.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// An image without pixels.
    #[error("the image has no pixels ({width}x{height})")]
    Empty {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// The file could not be opened or read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The bytes are no image of a known format, or are truncated or damaged.
    #[error("cannot decode the image")]
    Decode(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The bytes are an image of a format that this build does not read. The feature `image` reads the
    /// formats whose codecs the program has switched on in the crate `image`.
    #[error(
        "the image is a {found} file; PNG and JPEG are read, others by the codecs of the crate `image`"
    )]
    Format {
        /// The format's name.
        found: &'static str,
    },
    /// The path names a folder, a pipe or a device.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The file says that the image has more pixels than
    /// [`DecodeOptions::max_pixels`](crate::DecodeOptions::max_pixels).
    #[error("the image has {width}x{height} pixels, more than {most}")]
    TooLarge {
        /// Width in pixels.
        width: u64,
        /// Height in pixels.
        height: u64,
        /// The most pixels.
        most: u64,
    },
    /// A line that is longer than the network takes, even in parts.
    #[error("the crop of {width}x{height} pixels is more than {most} times as wide as high")]
    TooLong {
        /// Width in pixels, after the crop was turned.
        width: u32,
        /// Height in pixels, after the crop was turned.
        height: u32,
        /// The largest ratio of width to height.
        most: u32,
    },
    /// Raw pixels whose length does not fit width, height and stride.
    #[error(
        "raw pixels: {width}x{height} with {row_bytes} bytes a row at a stride of {stride} bytes \
         need {needed} bytes, {found} given"
    )]
    RawSize {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Bytes of pixels in a row.
        row_bytes: usize,
        /// Distance from row to row in bytes.
        stride: usize,
        /// Bytes that the geometry asks for (`usize::MAX` where that overflows).
        needed: usize,
        /// Bytes that were given.
        found: usize,
    },
}

/// Why a region of a page cannot be cropped.
#[derive(Debug, thiserror::Error, PartialEq)]
#[non_exhaustive]
pub enum RegionError {
    /// A coordinate is NaN or infinite.
    #[error("point {index} of the region is not finite")]
    NotFinite {
        /// The point, from 0.
        index: usize,
    },
    /// A polygon of too few or too many points, or of an odd number.
    #[error("a region has an even number of 4 to {most} points, not {found}")]
    PointCount {
        /// Points given.
        found: usize,
        /// The most points.
        most: usize,
    },
    /// The region covers less than a square pixel, or its points lie on one line.
    #[error("the region covers {area:.3} square pixels, less than one")]
    TooSmall {
        /// Its area in square pixels.
        area: f64,
    },
    /// The points run counter-clockwise, which would mirror the text.
    #[error(
        "the region's points must run clockwise from the text's top left (of a rectangle, x0 < x1 \
         and y0 < y1)"
    )]
    Order,
    /// Two edges cross.
    #[error("edges {first} and {second} of the region cross")]
    SelfCrossing {
        /// The first point of the one edge, from 0.
        first: usize,
        /// The first point of the other edge, from 0.
        second: usize,
    },
    /// A quadrilateral with a corner that turns inwards, or hardly turns.
    #[error("the quadrilateral is not convex at corner {corner}")]
    NotConvex {
        /// The corner, from 0.
        corner: usize,
    },
    /// Too much of the region lies beyond the page.
    #[error("{inside:.2} of the region lies inside the page, less than {least:.2}")]
    Outside {
        /// The share inside the page, 0..=1.
        inside: f32,
        /// The least share.
        least: f32,
    },
}
