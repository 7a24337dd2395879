//! A whole image, and crops of its regions.

use std::borrow::Cow;
use std::path::Path;

#[cfg(feature = "image")]
use image::{DynamicImage, RgbImage};

use super::rectify::{Plan, Raster, rectify};
use super::region::{Outline, Region};
use super::warp::{Homography, Ribbon, Warp, distance};
use super::{Crop, PixelFormat, check_raw};
use crate::cpu;
use crate::error::{RegionError, Result};
use crate::geometry::{Point, Quad};

/// A whole image whose text was located by a detector, borrowed where possible.
///
/// ```
/// use svtrv2::{Page, PixelFormat, Point, Rect};
///
/// let pixels: Vec<u8> = (0..200).collect();
/// let page = Page::from_raw(PixelFormat::Grey8, 20, 10, 20, &pixels)?;
/// let crop = page.crop(Rect::new(5.0, 2.0, 15.0, 8.0))?;
/// assert_eq!((crop.crop().width(), crop.crop().height()), (10, 6));
/// assert_eq!(crop.placement().to_page(Point::new(1.0, 1.0)), Point::new(6.0, 3.0));
/// // A quadrilateral, clockwise from the text's top left: this text runs upwards.
/// let crop = page.crop([(5.0, 9.0), (5.0, 1.0), (8.0, 1.0), (8.0, 9.0)])?;
/// assert_eq!((crop.crop().width(), crop.crop().height()), (8, 3));
/// # Ok::<(), svtrv2::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<'a> {
    width: u32,
    height: u32,
    format: PixelFormat,
    /// Bytes from row to row.
    stride: usize,
    pixels: Cow<'a, [u8]>,
}

impl<'a> Page<'a> {
    /// Takes an image; grey, RGB and opaque RGBA of 8 bits are borrowed, others are converted as
    /// [`Crop::from_image`] does.
    ///
    /// # Errors
    /// [`ImageError::Empty`](crate::ImageError::Empty).
    #[cfg(feature = "image")]
    pub fn from_image(image: &'a DynamicImage) -> Result<Self> {
        let (width, height) = (image.width(), image.height());
        let borrow = |format: PixelFormat, pixels: &'a [u8]| {
            Page::from_raw(format, width, height, width as usize * format.bytes_per_pixel(), pixels)
        };
        match image {
            DynamicImage::ImageLuma8(image) => borrow(PixelFormat::Grey8, image.as_raw()),
            DynamicImage::ImageRgb8(image) => borrow(PixelFormat::Rgb8, image.as_raw()),
            DynamicImage::ImageRgba8(image) if image.pixels().all(|pixel| pixel.0[3] == 255) => {
                borrow(PixelFormat::Rgba8, image.as_raw())
            }
            other => Ok(Crop::from_image(other)?.into()),
        }
    }

    /// Borrows an 8-bit RGB image.
    ///
    /// # Errors
    /// [`ImageError::Empty`](crate::ImageError::Empty).
    #[cfg(feature = "image")]
    pub fn from_rgb(image: &'a RgbImage) -> Result<Self> {
        Ok(Crop::from_rgb(image)?.into())
    }

    /// Borrows raw pixels with `stride` bytes from the start of one row to the start of the next.
    ///
    /// The last row needs no bytes behind its last pixel.
    ///
    /// # Errors
    /// As [`Crop::from_raw`].
    pub fn from_raw(
        format: PixelFormat,
        width: u32,
        height: u32,
        stride: usize,
        pixels: &'a [u8],
    ) -> Result<Self> {
        check_raw(format, width, height, stride, pixels)?;
        Ok(Page { width, height, format, stride, pixels: Cow::Borrowed(pixels) })
    }

    /// Width in pixels, at least 1.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels, at least 1.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The region's pixels, upright: the text runs from left to right.
    ///
    /// A rectangle with whole coordinates and at most 2^26 pixels gives the page's own pixels. Any
    /// other region is resampled: quadrilaterals and turned rectangles through a homography, polygons along their
    /// centre line. Such a crop is as wide and high as the region's longer edges (a polygon's
    /// centre line and mean height); one that is at least six times as high as the network's
    /// input is shrunk to three to six times that height.
    ///
    /// Where a region reaches beyond the page, the nearest pixel of the page is taken.
    ///
    /// # Errors
    /// [`RegionError`] if the region cannot be cropped.
    pub fn crop(&self, region: impl Into<Region>) -> Result<PageCrop<'_>> {
        let region = region.into();
        let (warp, crop) = match region.outline(self.width, self.height)? {
            Outline::Pixels { x, y, width, height } => {
                let (left, top) = (x as f64, y as f64);
                let (right, bottom) = (left + f64::from(width), top + f64::from(height));
                let corners = [(left, top), (right, top), (right, bottom), (left, bottom)];
                (Warp::Homography(Homography::new(corners)), self.sub_image(x, y, width, height)?)
            }
            Outline::Quad(corners) => {
                let [a, b, c, d] = corners;
                let width = distance(a, b).max(distance(d, c));
                let height = distance(a, d).max(distance(b, c));
                self.rectified(Warp::Homography(Homography::new(corners)), width, height)?
            }
            Outline::Edges(upper, lower) => {
                let too_small = RegionError::TooSmall { area: 0.0 };
                let ribbon = Ribbon::new(&upper, &lower).ok_or(too_small)?;
                let (width, height) = (ribbon.length(), ribbon.height());
                self.rectified(Warp::Ribbon(ribbon), width, height)?
            }
        };
        let placement = Placement { warp, width: crop.width(), height: crop.height() };
        Ok(PageCrop { crop, region, placement })
    }

    /// Crops many regions, on the threads of the current rayon pool; results are in the order of
    /// the regions. All crops are held at once: a rectangle of the whole page is a copy of it.
    pub fn crops(&self, regions: &[Region]) -> Vec<Result<PageCrop<'_>>> {
        cpu::map_jobs(regions.iter().collect(), |region| self.crop(region))
    }

    fn rectified(&self, warp: Warp, width: f64, height: f64) -> Result<(Warp, Crop<'_>)> {
        let plan = Plan::new(width, height);
        let rgb = rectify(self.raster(), &warp, plan);
        Ok((warp, Crop::checked(plan.width, plan.height, Cow::Owned(rgb))?))
    }

    fn raster(&self) -> Raster<'_> {
        Raster {
            pixels: &self.pixels,
            width: self.width as usize,
            height: self.height as usize,
            stride: self.stride,
            pixel_bytes: self.format.bytes_per_pixel(),
            offsets: self.format.offsets(),
        }
    }

    /// The pixels of a rectangle; those beyond the page are the nearest ones of the page.
    fn sub_image(&self, x: i64, y: i64, width: u32, height: u32) -> Result<Crop<'_>> {
        let bytes = self.format.bytes_per_pixel();
        let (right, bottom) = (x + i64::from(width), y + i64::from(height));
        if x >= 0 && y >= 0 && right <= i64::from(self.width) && bottom <= i64::from(self.height) {
            let start = y as usize * self.stride + x as usize * bytes;
            return Crop::from_raw(self.format, width, height, self.stride, &self.pixels[start..]);
        }
        let nearest = |at: i64, length: u32| at.clamp(0, i64::from(length) - 1) as usize;
        let columns: Vec<usize> = (x..right).map(|x| nearest(x, self.width) * bytes).collect();
        let mut rgb = Vec::with_capacity(width as usize * height as usize * 3);
        for y in y..bottom {
            let row = &self.pixels[nearest(y, self.height) * self.stride..];
            let pixels = columns.iter().map(|&at| self.format.rgb(&row[at..at + bytes]));
            rgb.extend(pixels.flatten());
        }
        Crop::checked(width, height, Cow::Owned(rgb))
    }
}

impl Page<'static> {
    /// Decodes an image file's bytes, as [`Crop::decode`].
    ///
    /// # Errors
    /// As [`Crop::decode`].
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        Ok(Crop::decode(bytes)?.into())
    }

    /// Reads and decodes an image file, as [`Crop::open`].
    ///
    /// # Errors
    /// As [`Crop::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Ok(Crop::open(path)?.into())
    }
}

impl<'a> From<Crop<'a>> for Page<'a> {
    fn from(crop: Crop<'a>) -> Self {
        let Crop { width, height, rgb } = crop;
        Page { width, height, format: PixelFormat::Rgb8, stride: width as usize * 3, pixels: rgb }
    }
}

#[cfg(feature = "image")]
impl<'a> TryFrom<&'a DynamicImage> for Page<'a> {
    type Error = crate::Error;

    fn try_from(image: &'a DynamicImage) -> Result<Self> {
        Page::from_image(image)
    }
}

#[cfg(feature = "image")]
impl<'a> TryFrom<&'a RgbImage> for Page<'a> {
    type Error = crate::Error;

    fn try_from(image: &'a RgbImage) -> Result<Self> {
        Page::from_rgb(image)
    }
}

/// A crop of a page that knows where it comes from: the result of [`Page::crop`].
#[derive(Debug, Clone, PartialEq)]
pub struct PageCrop<'a> {
    crop: Crop<'a>,
    region: Region,
    placement: Placement,
}

impl<'a> PageCrop<'a> {
    /// The pixels.
    pub fn crop(&self) -> &Crop<'a> {
        &self.crop
    }

    /// The region that was cropped.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// Where the crop's pixels lie in the page.
    pub fn placement(&self) -> &Placement {
        &self.placement
    }
}

impl<'a> From<PageCrop<'a>> for Crop<'a> {
    fn from(page_crop: PageCrop<'a>) -> Self {
        page_crop.crop
    }
}

impl<'a> From<&'a PageCrop<'_>> for Crop<'a> {
    fn from(page_crop: &'a PageCrop<'_>) -> Self {
        page_crop.crop.borrowed()
    }
}

/// Where the pixels of a [`PageCrop`] lie in its page.
#[derive(Debug, Clone, PartialEq)]
pub struct Placement {
    warp: Warp,
    width: u32,
    height: u32,
}

impl Placement {
    /// From pixels of the crop to pixels of the page. Of a polygon, places left or right of the
    /// crop are taken to its edge.
    pub fn to_page(&self, point: Point) -> Point {
        let u = f64::from(point.x) / f64::from(self.width);
        let v = f64::from(point.y) / f64::from(self.height);
        let (x, y) = self.warp.map(u, v);
        Point { x: x as f32, y: y as f32 }
    }

    /// From pixels of the crop to pixels of the page, corner by corner.
    pub fn quad_to_page(&self, quad: impl Into<Quad>) -> Quad {
        Quad(quad.into().0.map(|corner| self.to_page(corner)))
    }
}
