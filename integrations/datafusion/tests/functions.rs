//! The functions in queries: equal to the library's results, for every type of array, with options,
//! NULLs and damaged images.

mod support;

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, FixedSizeBinaryArray, Float32Array,
    Float64Array, LargeBinaryArray, ListArray, RecordBatch, StructArray,
};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Int32Type};
use svtrv2::{Page, Recognition, Rect, Region};

use support::{
    assert_same, assert_same_words, batch, pngs, repository, run, samples, session, table, texts,
    toy, toy_recognizer, toy_session,
};

fn binary(images: &[Vec<u8>]) -> ArrayRef {
    Arc::new(BinaryArray::from_iter_values(images))
}

#[tokio::test]
async fn results_are_those_of_the_library_in_every_binary_type() {
    let images = pngs(150);
    let expected = batch(&toy_recognizer(), &images);
    let arrays: [ArrayRef; 3] = [
        binary(&images),
        Arc::new(LargeBinaryArray::from_iter_values(&images)),
        Arc::new(BinaryViewArray::from_iter_values(&images)),
    ];
    for array in arrays {
        let of = array.data_type().clone();
        let ctx = toy_session(vec![("crops", table(array))]).await;
        let rows = run(&ctx, "SELECT read_text(image) FROM crops").await.unwrap();
        assert_eq!(rows.column(0).data_type(), &svtrv2_datafusion::result_type(), "{of}");
        assert_same(rows.column(0).as_struct(), &expected);
    }
    // Padding behind a PNG file is not read.
    let longest = images.iter().map(Vec::len).max().unwrap();
    let padded = images.iter().map(|image| {
        let mut padded = image.clone();
        padded.resize(longest, 0);
        padded
    });
    let array: ArrayRef = Arc::new(FixedSizeBinaryArray::try_from_iter(padded).unwrap());
    let ctx = toy_session(vec![("crops", table(array))]).await;
    let rows = run(&ctx, "SELECT read_text(image) FROM crops").await.unwrap();
    assert_same(rows.column(0).as_struct(), &expected);
}

#[tokio::test]
async fn slices_and_empty_arrays_keep_their_rows() {
    let images = pngs(12);
    let expected = batch(&toy_recognizer(), &images);
    let rows = images.iter().enumerate().map(|(row, image)| (row != 5).then_some(image));
    let array: ArrayRef = Arc::new(rows.collect::<BinaryArray>());
    let key = Box::new(DataType::Int8);
    for of in [
        DataType::Binary,
        DataType::LargeBinary,
        DataType::BinaryView,
        DataType::Dictionary(key, Box::new(DataType::Binary)),
    ] {
        let typed = cast(&array, &of).unwrap();
        for (first, length) in [(3, 7), (5, 1), (4, 0), (0, 12)] {
            let ctx = toy_session(vec![("crops", table(typed.slice(first, length)))]).await;
            let rows = run(&ctx, "SELECT read_text(image) FROM crops").await.unwrap();
            let results = rows.column(0).as_struct();
            assert_eq!(results.len(), length, "{of} {first}");
            for (row, source) in (first..first + length).enumerate() {
                if source == 5 {
                    assert!(results.is_null(row), "{of} {first}");
                } else {
                    assert_same(&results.slice(row, 1), &expected[source..source + 1]);
                }
            }
        }
    }
}

#[tokio::test]
async fn the_embedded_model_reads_the_samples() {
    let (names, images): (Vec<String>, Vec<Vec<u8>>) = samples().into_iter().unzip();
    let ctx = session(vec![("crops", table(binary(&images)))]);
    let query = "SELECT read_text(image).text AS text, \
                 read_text(image, options => {'orientation': 'rotate-tall'}).text AS turned, \
                 read_text(image).confidence AS confidence, \
                 read_text(image, options => {'orientation': 'rotate-tall'}).confidence AS of_turned \
                 FROM crops";
    let rows = run(&ctx, query).await.unwrap();
    let (plain, turned) = (texts(rows.column(0)), texts(rows.column(1)));
    for (name, expected) in [("harbour.png", "Harbour"), ("restaurant.png", "RESTAURANT")] {
        let row = names.iter().position(|own| own == name).unwrap();
        assert_eq!(plain[row].as_deref(), Some(expected));
    }
    let hotel = names.iter().position(|name| name == "hotel_downwards.png").unwrap();
    assert_eq!(turned[hotel].as_deref(), Some("Hotel"));
    // The network recognises the crop either way, but not as surely.
    assert_ne!(&rows.column(2).slice(hotel, 1), &rows.column(3).slice(hotel, 1));
}

#[tokio::test]
async fn null_gives_null_and_damage_an_error() {
    let images = pngs(60);
    let expected = batch(&toy_recognizer(), &images);
    let rows = images.iter().enumerate().map(|(row, image)| match row % 10 {
        3 => None,
        5 => Some(&image[..image.len() / 2]),
        7 => Some(&[][..]),
        8 => Some(&b"no image"[..]),
        _ => Some(image.as_slice()),
    });
    let array: ArrayRef = Arc::new(rows.collect::<BinaryArray>());
    let ctx = toy_session(vec![("crops", table(array))]).await;
    let rows = run(&ctx, "SELECT read_text(image) AS r FROM crops").await.unwrap();
    let results = rows.column(0).as_struct();
    for (row, expected) in expected.iter().enumerate() {
        let text = texts(results.column(0))[row].clone();
        let error = texts(results.column(5))[row].clone();
        match row % 10 {
            3 => assert!(results.is_null(row), "row {row}"),
            5 | 7 | 8 => {
                assert!(results.is_valid(row) && text.is_none(), "row {row}");
                assert!(error.is_some_and(|error| !error.is_empty()), "row {row}");
                assert!((1..5).all(|field| results.column(field).is_null(row)), "row {row}");
            }
            _ => {
                assert_same(&results.slice(row, 1), std::slice::from_ref(expected));
            }
        }
    }
    let query = "SELECT count(r.error), count(r.text), count(*) \
                 FROM (SELECT read_text(image) AS r FROM crops)";
    let counts = run(&ctx, query).await.unwrap();
    let count = |i: usize| counts.column(i).as_primitive::<Int64>().value(0);
    assert_eq!([count(0), count(1), count(2)], [18, 36, 60]);
    let rows = run(&ctx, "SELECT read_text(NULL) AS r").await.unwrap();
    assert_eq!((rows.num_rows(), rows.column(0).null_count()), (1, 1));
}

type Int64 = datafusion::arrow::datatypes::Int64Type;

#[tokio::test]
async fn options_come_from_the_session_and_from_the_call() {
    let images: Vec<Vec<u8>> = samples().into_iter().map(|(_, image)| image).collect();
    let ctx = session(vec![("crops", table(binary(&images)))]);
    let digits = |texts: &[Option<String>]| {
        texts.iter().flatten().all(|text| text.chars().all(|symbol| symbol.is_ascii_digit()))
    };
    let of = async |query: &str| texts(run(&ctx, query).await.unwrap().column(0));
    let named = "SELECT read_text(image, options => {'allow': '0123456789'}).text FROM crops";
    let named = of(named).await;
    assert!(digits(&named) && named.iter().flatten().any(|text| !text.is_empty()), "{named:?}");
    let by_struct = "SELECT read_text(image, named_struct('allow', '0123456789')).text FROM crops";
    assert_eq!(of(by_struct).await, named);
    let by_map = "SELECT read_text(image, MAP {'allow': '0123456789'}).text FROM crops";
    assert_eq!(of(by_map).await, named);
    let plain = of("SELECT read_text(image).text FROM crops").await;
    assert!(!digits(&plain));
    run(&ctx, "SET svtrv2.allow = '0123456789'").await.unwrap();
    assert_eq!(of("SELECT read_text(image).text FROM crops").await, named);
    let over = "SELECT read_text(image, options => {'allow': ''}).text FROM crops";
    assert_eq!(of(over).await, plain);
    run(&ctx, "SET svtrv2.allow = ''").await.unwrap();
    run(&ctx, "SET svtrv2.decoder = 'english'").await.unwrap();
    run(&ctx, "SET svtrv2.precision = 'int8'").await.unwrap();
    assert_eq!(of("SELECT read_text(image).text FROM crops").await.len(), images.len());
}

#[tokio::test]
async fn the_model_for_latin_scripts_reads_lines() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/lines/menu.png");
    let line = [std::fs::read(path).unwrap()];
    let ctx = session(vec![("crops", table(binary(&line)))]);
    run(&ctx, "SET svtrv2.weights = 'latin'").await.unwrap();
    for decoder in ["greedy", "latin"] {
        run(&ctx, &format!("SET svtrv2.decoder = '{decoder}'")).await.unwrap();
        let found = run(&ctx, "SELECT read_text(image).text FROM crops").await.unwrap();
        assert_eq!(texts(found.column(0)), [Some("Crème brûlée 4,50 €".to_owned())], "{decoder}");
    }
}

#[tokio::test]
async fn words_end_at_gaps_where_an_option_says_so() {
    let images = pngs(150);
    let expected = batch(&toy_recognizer(), &images);
    let by_gaps = |found: &Recognition| found.words_by_gaps(Recognition::WORD_GAP);
    let marked = expected.iter().flat_map(by_gaps).filter(|word| word.follows_gap).count();
    assert!(marked > 0);
    let ctx = toy_session(vec![("crops", table(binary(&images)))]).await;
    let query = "SELECT read_text(image, options => {'words_by_gaps': true}) FROM crops";
    let rows = run(&ctx, query).await.unwrap();
    assert_same_words(rows.column(0).as_struct(), &expected, by_gaps);

    // Off unless it is set; for regions too.
    let query = "SELECT read_text(image) FROM crops";
    let rows = run(&ctx, query).await.unwrap();
    assert_same_words(rows.column(0).as_struct(), &expected, Recognition::words);
    let region = [10.0, 10.0, 100.0, 40.0];
    let (page, table) = pages(&[vec![region.to_vec()]]);
    let ctx = toy_session(vec![("pages", table)]).await;
    run(&ctx, "SET svtrv2.words_by_gaps = 'true'").await.unwrap();
    let rows = run(&ctx, "SELECT read_regions(page, regions) FROM pages").await.unwrap();
    let [x0, y0, x1, y1] = region;
    let rect = Region::from(Rect::new(x0, y0, x1, y1));
    let found = toy_recognizer().recognize_regions(&Page::decode(&page).unwrap(), &[rect]);
    let found: Vec<_> = found.into_iter().map(|result| result.unwrap()).collect();
    let results = rows.column(0).as_list::<i32>().value(0);
    assert_same_words(results.as_struct(), &found, by_gaps);
}

#[tokio::test]
async fn the_words_of_a_result_are_rows_of_their_own() {
    let images = pngs(20);
    let expected = batch(&toy_recognizer(), &images);
    let ctx = toy_session(vec![("crops", table(binary(&images)))]).await;
    run(&ctx, "SET svtrv2.words_by_gaps = 'true'").await.unwrap();
    let query = "SELECT w.text AS text, array_length(w.quad) AS numbers, w.chars_end - w.chars_start AS length \
                 FROM (SELECT unnest(read_text(image).words) AS w FROM crops)";
    let rows = run(&ctx, query).await.unwrap();
    let words = expected.iter().flat_map(|found| found.words_by_gaps(Recognition::WORD_GAP));
    let words: Vec<_> = words.collect();
    let found = texts(rows.column(0)).into_iter().flatten();
    assert!(found.eq(words.iter().map(|word| word.text.clone())));
    let lengths = words.iter().map(|word| Some(word.chars.len() as i32));
    assert!(rows.column(2).as_primitive::<Int32Type>().iter().eq(lengths));
    let numbers = cast(rows.column(1), &DataType::Int32).unwrap();
    assert!(numbers.as_primitive::<Int32Type>().iter().all(|count| count == Some(8)));
}

#[tokio::test]
async fn wrong_options_fail_the_query_and_name_the_option() {
    let ctx = session(vec![("crops", table(binary(&pngs(2))))]);
    let lexicon = repository().join("tests/fixtures/none.txt");
    let missing = format!("{{'lexicon': '{}'}}", lexicon.display());
    let no_charset = format!("{{'weights': '{}'}}", toy().display());
    let table = [
        ("{'colour': 'red'}", "colour"),
        ("{'beam': 'wide'}", "svtrv2.beam"),
        ("{'words_by_gaps': 'wide'}", "svtrv2.words_by_gaps"),
        ("{'decoder': 'fast'}", "greedy, beam, english"),
        ("{'weights': '/none.safetensors'}", "/none.safetensors"),
        ("{'allow': 'жд'}", "svtrv2.allow"),
        ("{'charset': '/none.txt'}", "/none.txt"),
        (missing.as_str(), "none.txt"),
        (no_charset.as_str(), "charset"),
        ("'english'", "struct"),
    ];
    for (options, part) in table {
        let query = format!("SELECT read_text(image, options => {options}) FROM crops");
        let error = run(&ctx, &query).await.unwrap_err().to_string();
        assert!(error.contains(part), "{options}: {error}");
    }
    for (query, part) in [
        ("SET svtrv2.beam = 'wide'", "svtrv2.beam"),
        ("SET svtrv2.colour = 'red'", "colour"),
        ("SELECT read_text('text')", "binary"),
        ("SELECT read_text()", "read_text"),
        ("SELECT read_text(image, size => 3) FROM crops", "options"),
        ("SELECT read_regions(image, [1, 2]) FROM crops", "regions"),
        ("SELECT read_regions(image, [[{'a': 1, 'b': 2}]]) FROM crops", "regions"),
    ] {
        let error = run(&ctx, query).await.unwrap_err().to_string();
        assert!(error.contains(part), "{query}: {error}");
    }
}

#[tokio::test]
async fn a_constant_image_is_recognised() {
    let image = samples().into_iter().find(|(name, _)| name == "harbour.png").unwrap().1;
    let hexadecimal: String = image.iter().map(|byte| format!("{byte:02x}")).collect();
    let ctx = session(vec![]);
    let query = format!("SELECT read_text(X'{hexadecimal}').text");
    assert_eq!(texts(run(&ctx, &query).await.unwrap().column(0)), [Some("Harbour".to_owned())]);
}

const QUADS: [[f32; 8]; 2] =
    [[10.0, 12.0, 90.0, 8.0, 92.0, 40.0, 11.0, 44.0], [5.0, 5.0, 60.0, 5.0, 60.0, 25.0, 5.0, 25.0]];

/// A page for each of `regions`, a list of regions of numbers each.
fn pages(regions: &[Vec<Vec<f32>>]) -> (Vec<u8>, RecordBatch) {
    let page = support::png(3, 120, 60);
    let numbers: Vec<f32> = regions.iter().flatten().flatten().copied().collect();
    let list = |values: ArrayRef, lengths: Vec<usize>| {
        let item = Arc::new(Field::new_list_field(values.data_type().clone(), true));
        ListArray::new(item, OffsetBuffer::from_lengths(lengths), values, None)
    };
    let each = list(
        Arc::new(Float32Array::from(numbers)),
        regions.iter().flatten().map(Vec::len).collect(),
    );
    let all = list(Arc::new(each), regions.iter().map(Vec::len).collect());
    let images = binary(&vec![page.clone(); regions.len()]);
    let columns: [(&str, ArrayRef); 2] = [("page", images), ("regions", Arc::new(all))];
    (page, RecordBatch::try_from_iter(columns).unwrap())
}

#[tokio::test]
async fn regions_of_pages_are_those_of_the_library() {
    let regions = vec![QUADS.map(Vec::from).to_vec(), vec![], vec![vec![10.0, 10.0, 100.0, 40.0]]];
    let (page, table) = pages(&regions);
    let page = Page::decode(&page).unwrap();
    let library: Vec<Vec<Region>> = vec![
        QUADS.map(Region::from).to_vec(),
        vec![],
        vec![Rect::new(10.0, 10.0, 100.0, 40.0).into()],
    ];
    let lists = |of: DataType| DataType::List(Arc::new(Field::new_list_field(of, true)));
    let large = |of: DataType| DataType::LargeList(Arc::new(Field::new_list_field(of, true)));
    for of in [
        lists(lists(DataType::Float32)),
        lists(lists(DataType::Float64)),
        large(large(DataType::Float32)),
        lists(large(DataType::Int32)),
    ] {
        let columns = [
            ("page", Arc::clone(table.column(0))),
            ("regions", cast(table.column(1), &of).unwrap()),
        ];
        let typed = RecordBatch::try_from_iter(columns).unwrap();
        let ctx = toy_session(vec![("pages", typed)]).await;
        let rows = run(&ctx, "SELECT read_regions(page, regions) FROM pages").await.unwrap();
        let results = rows.column(0).as_list::<i32>();
        assert_eq!(results.data_type(), &svtrv2_datafusion::results_type());
        for (row, regions) in library.iter().enumerate() {
            let expected = toy_recognizer().recognize_regions(&page, regions);
            let expected: Vec<_> = expected.into_iter().map(|result| result.unwrap()).collect();
            assert_same(results.value(row).as_struct(), &expected);
        }
    }
}

#[tokio::test]
async fn regions_are_written_as_literals_and_unnested() {
    let (page, table) = pages(&[vec![]]);
    let ctx = toy_session(vec![("pages", table)]).await;
    let page = Page::decode(&page).unwrap();
    let expected = toy_recognizer().recognize_regions(&page, &[QUADS[0].into()]);
    let expected = expected.into_iter().next().unwrap().unwrap();
    for region in [
        "[[10, 12, 90, 8, 92, 40, 11, 44]]",
        "[[10.0, 12.0, 90.0, 8.0, 92.0, 40.0, 11.0, 44.0]]",
        "[[{'x': 10, 'y': 12}, {'x': 90, 'y': 8}, {'x': 92, 'y': 40}, {'x': 11, 'y': 44}]]",
        "[[{'y': 12, 'x': 10}, {'y': 8, 'x': 90}, {'y': 40, 'x': 92}, {'y': 44, 'x': 11}]]",
    ] {
        let query = format!("SELECT unnest(read_regions(page, {region})) AS r FROM pages");
        let rows = run(&ctx, &format!("SELECT r.text FROM ({query})")).await.unwrap();
        assert_eq!(texts(rows.column(0)), [Some(expected.text.clone())], "{region}");
    }
}

#[tokio::test]
async fn a_region_that_cannot_be_cropped_leaves_the_others_alone() {
    let regions =
        vec![vec![vec![0.0; 8], QUADS[0].to_vec(), vec![1.0; 5], vec![900.0, 0.0, 990.0, 30.0]]];
    let (page, table) = pages(&regions);
    let ctx = toy_session(vec![("pages", table)]).await;
    let rows = run(&ctx, "SELECT read_regions(page, regions) FROM pages").await.unwrap();
    let results = rows.column(0).as_list::<i32>().value(0);
    let results = results.as_struct();
    let expected =
        toy_recognizer().recognize_regions(&Page::decode(&page).unwrap(), &[QUADS[0].into()]);
    assert_same(&results.slice(1, 1), &[expected.into_iter().next().unwrap().unwrap()]);
    for row in [0, 2, 3] {
        assert!(results.column(0).is_null(row) && results.column(5).is_valid(row), "region {row}");
    }
}

/// Below a NULL a struct can have numbers.
#[tokio::test]
async fn a_point_that_is_null_has_no_coordinates() {
    let (_, table) = pages(&[vec![]]);
    let numbers = |values: [f32; 4]| Arc::new(Float32Array::from(values.to_vec())) as ArrayRef;
    let fields = ["x", "y"].map(|name| Field::new(name, DataType::Float32, true));
    let points = StructArray::new(
        fields.to_vec().into(),
        vec![numbers([10.0, 90.0, 92.0, 11.0]), numbers([12.0, 8.0, 40.0, 44.0])],
        Some(vec![true, true, false, true].into()),
    );
    let list = |values: ArrayRef| {
        let item = Arc::new(Field::new_list_field(values.data_type().clone(), true));
        let whole = OffsetBuffer::from_lengths([values.len()]);
        Arc::new(ListArray::new(item, whole, values, None)) as ArrayRef
    };
    let regions = list(list(Arc::new(points)));
    let columns = [("page", Arc::clone(table.column(0))), ("regions", regions)];
    let ctx = toy_session(vec![("pages", RecordBatch::try_from_iter(columns).unwrap())]).await;
    let rows = run(&ctx, "SELECT read_regions(page, regions) FROM pages").await.unwrap();
    let results = rows.column(0).as_list::<i32>().value(0);
    let error = texts(results.as_struct().column(5)).remove(0).unwrap();
    assert!(error.contains("NULL"), "{error}");
}

#[tokio::test]
async fn a_damaged_page_has_an_error_for_each_region() {
    let (_, table) = pages(&[QUADS.map(Vec::from).to_vec()]);
    let ctx = toy_session(vec![("pages", table)]).await;
    let query = "SELECT read_regions(X'0011', regions) AS damaged, \
                 read_regions(NULL, regions) AS nothing, \
                 read_regions(page, NULL) AS none FROM pages";
    let rows = run(&ctx, query).await.unwrap();
    let damaged = rows.column(0).as_list::<i32>().value(0);
    assert_eq!(damaged.as_struct().column(5).null_count(), 0);
    assert_eq!(damaged.len(), 2);
    assert!(rows.column(1).is_null(0) && rows.column(2).is_null(0));
}

#[tokio::test]
async fn an_array_of_numbers_is_refused() {
    let numbers: ArrayRef = Arc::new(Float64Array::from(vec![0.1]));
    let error = svtrv2_datafusion::recognize_images(&numbers, &Default::default()).unwrap_err();
    assert!(error.to_string().contains("Float64"), "{error}");
}
