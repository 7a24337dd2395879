//! Recognises the text in the regions of a page that a detector found.
//!
//! ```text
//! cargo run --release --example page -- examples/page/page.jpg examples/page/regions.txt
//! ```
//!
//! A line of the list is a region: x and y of its corners, clockwise from the text's top left;
//! four of them for a quadrilateral, more for curved text.

use std::error::Error;

use svtrv2::{Page, Point, Recognizer, Region};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [page, list] = arguments.as_slice() else {
        return Err("usage: page IMAGE REGIONS".into());
    };
    let recognizer = Recognizer::embedded()?;
    let page = Page::open(page)?;
    let list = std::fs::read_to_string(list)?;
    let regions: Vec<Region> = list.lines().map(region).collect::<Result<_, _>>()?;
    for result in recognizer.recognize_regions(&page, &regions) {
        match result {
            Ok(recognition) => {
                println!("{} ({:.2})", recognition.text, recognition.confidence);
                for c in &recognition.chars {
                    let Point { x, y } = c.quad.center();
                    println!("    {} {:.2} at {x:.0}, {y:.0}", c.symbol, c.confidence);
                }
            }
            Err(error) => println!("{}", error.report()),
        }
    }
    Ok(())
}

fn region(line: &str) -> Result<Region, Box<dyn Error>> {
    let numbers: Vec<f32> =
        line.split(',').map(|number| number.trim().parse()).collect::<Result<_, _>>()?;
    let points = numbers.chunks_exact(2).map(|pair| Point::new(pair[0], pair[1]));
    Ok(Region::Polygon(points.collect()))
}
