//! Regions of pages in Arrow arrays.

use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float32Array, ListArray};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::{exec_datafusion_err, plan_err};
use datafusion::error::Result;
use svtrv2::{Point, Rect, Region};

/// For each page a list of regions. A region is a list of numbers, or of points.
pub(crate) struct Regions<'a> {
    pages: &'a ListArray,
    regions: &'a ListArray,
    coordinates: Coordinates<'a>,
}

enum Coordinates<'a> {
    /// x and y in turn.
    Numbers(&'a Float32Array),
    Points {
        x: &'a Float32Array,
        y: &'a Float32Array,
        /// Which points are no NULL; the numbers of one that is mean nothing.
        nulls: Option<&'a NullBuffer>,
    },
}

impl<'a> Regions<'a> {
    /// The type that an argument is cast to before the call.
    pub(crate) fn coerced(given: &DataType) -> Result<DataType> {
        let number = DataType::Float32;
        let coordinate = match item(given).and_then(item) {
            _ if given.is_null() => number,
            // A list without regions has no type of its own.
            Some(DataType::Null) => number,
            None if item(given).is_some_and(DataType::is_null) => number,
            Some(number_type) if number_type.is_numeric() => number,
            Some(DataType::Struct(fields)) if is_point(fields) => {
                let number = |field: &FieldRef| Field::new(field.name(), DataType::Float32, true);
                DataType::Struct(fields.iter().map(number).collect())
            }
            _ => {
                return plan_err!(
                    "regions are a list for each page; a region is a list of 8 numbers \
                     (x0, y0, ... x3, y3) or of points {{x, y}}, not {given}"
                );
            }
        };
        Ok(list(list(coordinate)))
    }

    /// Takes an array of a type that [`Regions::coerced`] gave.
    pub(crate) fn new(array: &'a ArrayRef) -> Result<Self> {
        let wrong = || exec_datafusion_err!("regions are of type {}", array.data_type());
        let pages = array.as_list_opt::<i32>().ok_or_else(wrong)?;
        let regions = pages.values().as_list_opt::<i32>().ok_or_else(wrong)?;
        let values = regions.values();
        let coordinates = match values.as_struct_opt() {
            Some(points) => {
                let column = |name| points.column_by_name(name)?.as_primitive_opt();
                let (x, y) = column("x").zip(column("y")).ok_or_else(wrong)?;
                Coordinates::Points { x, y, nulls: points.nulls() }
            }
            None => Coordinates::Numbers(values.as_primitive_opt().ok_or_else(wrong)?),
        };
        Ok(Regions { pages, regions, coordinates })
    }

    /// The regions of a page; none if they are NULL. A region can be NULL, and one can be none.
    pub(crate) fn of_page(&self, row: usize) -> Option<Vec<Option<Result<Region, String>>>> {
        let region = |index| self.regions.is_valid(index).then(|| self.region(index));
        self.pages.is_valid(row).then(|| bounds(self.pages, row).map(region).collect())
    }

    fn region(&self, index: usize) -> Result<Region, String> {
        let range = bounds(self.regions, index);
        let points: Option<Vec<Point>> = match self.coordinates {
            Coordinates::Numbers(numbers) => {
                let numbers: Option<Vec<f32>> = range.map(|i| value(numbers, i)).collect();
                match numbers.as_deref() {
                    Some(&[x0, y0, x1, y1]) => return Ok(Rect::new(x0, y0, x1, y1).into()),
                    Some(odd) if odd.len() % 2 == 1 => {
                        return Err(format!("a region has {} numbers", odd.len()));
                    }
                    numbers => numbers.map(|n| n.chunks_exact(2).map(point).collect()),
                }
            }
            Coordinates::Points { x, y, nulls } => range
                .map(|i| {
                    let point = Point::new(value(x, i)?, value(y, i)?);
                    nulls.is_none_or(|nulls| nulls.is_valid(i)).then_some(point)
                })
                .collect(),
        };
        let points = points.ok_or("a coordinate of the region is NULL")?;
        Ok(match <[Point; 4]>::try_from(points) {
            Ok(corners) => corners.into(),
            Err(points) => Region::Polygon(points),
        })
    }
}

/// Numbers x and y, in any order.
fn is_point(fields: &Fields) -> bool {
    let has = |name| fields.iter().any(|field| field.name() == name);
    fields.len() == 2
        && has("x")
        && has("y")
        && fields.iter().all(|field| field.data_type().is_numeric())
}

fn item(of: &DataType) -> Option<&DataType> {
    match of {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            Some(item.data_type())
        }
        _ => None,
    }
}

fn list(of: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(of, true)))
}

fn bounds(lists: &ListArray, row: usize) -> Range<usize> {
    let offsets = lists.value_offsets();
    offsets[row] as usize..offsets[row + 1] as usize
}

fn value(numbers: &Float32Array, index: usize) -> Option<f32> {
    numbers.is_valid(index).then(|| numbers.value(index))
}

fn point(pair: &[f32]) -> Point {
    Point::new(pair[0], pair[1])
}
