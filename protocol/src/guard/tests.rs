//! The guard on its own; what it lets pass is decoded in `tests/messages.rs` and `tests/malformed.rs`.

use super::shape::{Kind, Struct};
use super::*;

/// The fewest bytes a struct can have.
fn smallest(shape: &Struct, version: i16, flexible: bool) -> usize {
    let fields: usize = shape
        .fields
        .iter()
        .filter(|field| field.tag < 0 && field.has(version))
        .map(|field| match &field.kind {
            Kind::Fixed(len) => usize::from(*len),
            Kind::Struct(_) if field.nullable(version) => 1,
            Kind::Struct(shape) => smallest(shape, version, flexible),
            _ if flexible => 1,
            Kind::Text => 2,
            Kind::Bytes | Kind::Array(_) => 4,
        })
        .sum();
    fields + usize::from(flexible)
}

fn elements_are_not_empty(shape: &Struct, version: i16, flexible: bool, path: &str) {
    for field in shape.fields.iter().filter(|field| field.has(version)) {
        match &field.kind {
            Kind::Array(Kind::Struct(element)) => {
                assert!(smallest(element, version, flexible) > 0, "{path} v{version}");
                elements_are_not_empty(element, version, flexible, path);
            }
            Kind::Struct(inner) => elements_are_not_empty(inner, version, flexible, path),
            _ => {}
        }
    }
}

#[test]
fn a_count_is_bounded_by_the_bytes_left() {
    for request in requests() {
        for version in request.from..=request.to {
            let flexible = request.is_flexible(version);
            elements_are_not_empty(request.body, version, flexible, request.name);
        }
    }
}

#[test]
fn the_table_is_sorted_and_whole() {
    assert!(requests().windows(2).all(|pair| pair[0].key < pair[1].key));
    assert_eq!(shape(0).map(RequestShape::name), Some("Produce"));
    assert_eq!(shape(18).map(RequestShape::versions), Some((0, 5)));
    assert!(shape(7).is_none(), "ControlledShutdown has no version any more");
    assert!(requests().len() > 80);
}

#[test]
fn a_four_byte_metadata_body_is_refused() {
    // The count that aborts kafka-protocol.
    assert_eq!(
        check(3, 0, &[0x7f, 0xff, 0xff, 0xff]),
        Err(GuardError::TooLong { at: 0, len: 0x7fff_ffff, left: 0 })
    );
    assert_eq!(check(3, 0, &[0xff; 4]), Err(GuardError::Null { at: 0 }));
    assert_eq!(check(3, 0, &[0xff, 0xff, 0xff]), Err(GuardError::Truncated { at: 0 }));
    assert_eq!(check(3, 1, &[0xff; 4]).map(|cost| cost.body_bytes), Ok(4));
    assert_eq!(
        check(3, 1, &[0xff, 0xff, 0xff, 0xfe]),
        Err(GuardError::Negative { at: 0, len: -2 })
    );
    assert_eq!(check(3, 99, &[]), Err(GuardError::UnknownVersion { key: 3, version: 99 }));
    assert_eq!(check(7, 0, &[]), Err(GuardError::UnknownApi(7)));
}

#[test]
fn tags_are_walked() {
    // ApiVersions v3: name, version, tags.
    let body = |tags: &[u8]| [&[2, b'a', 2, b'1'][..], tags].concat();
    assert_eq!(check(18, 3, &body(&[0])).map(|cost| cost.trailing_bytes), Ok(0));
    assert_eq!(check(18, 3, &body(&[0, 9, 9])).map(|cost| cost.trailing_bytes), Ok(2));
    // Repeated and out of order, as Kafka takes them.
    let cost = check(18, 3, &body(&[3, 9, 1, 0, 7, 0, 9, 0])).expect("tolerated");
    assert_eq!(cost.trailing_bytes, 0);
    assert!(cost.decoded_bytes >= 3 * 512);
    assert_eq!(check(18, 3, &body(&[])), Err(GuardError::Truncated { at: 4 }));
    assert_eq!(
        check(18, 3, &body(&[0x80, 0x80, 0x80, 0x80, 0x08])),
        Err(GuardError::TooLong { at: 9, len: 0x8000_0000, left: 0 })
    );
    assert_eq!(
        check(18, 3, &body(&[1, 9, 5, 0])),
        Err(GuardError::TooLong { at: 7, len: 5, left: 1 })
    );
    assert_eq!(check(18, 3, &[0xff; 9]), Err(GuardError::Overlong { at: 0 }));
    let many: Vec<u8> = [0x81, 0x08].into_iter().chain((0..1_025).flat_map(|_| [99, 0])).collect();
    assert_eq!(check(18, 3, &body(&many)), Err(GuardError::Tags { max: 1_024 }));
}

#[test]
fn tags_of_another_version_are_refused() {
    // Fetch v12 has tag 0 (cluster id) but not tag 1 (replica state, v15).
    let head =
        [&[0; 4][..], &[0; 4], &[0; 4], &[0; 4], &[0], &[0; 4], &[0; 4], &[1], &[1], &[1]].concat();
    let with = |tags: &[u8]| [&head[..], tags].concat();
    assert_eq!(check(1, 12, &with(&[0])).map(|cost| cost.trailing_bytes), Ok(0));
    assert_eq!(check(1, 12, &with(&[1, 0, 2, 2, b'c'])).map(|cost| cost.trailing_bytes), Ok(0));
    assert_eq!(
        check(1, 12, &with(&[1, 1, 1, 0])),
        Err(GuardError::Tag { at: head.len() + 1, tag: 1 })
    );
}

#[test]
fn memory_is_foreseen() {
    // Metadata v1 with 1,000 empty names.
    let body = [&1_000i32.to_be_bytes()[..], &[0; 2_000]].concat();
    let cost = check(3, 1, &body).expect("well formed");
    assert!((50_000..200_000).contains(&cost.decoded_bytes), "{cost:?}");
}
