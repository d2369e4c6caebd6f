//! Names and what they stand for, both ways.

use holdfast_common::{Code, PackId, PointId, SegmentId};
use holdfast_repository::{Object, ObjectName};
use proptest::prelude::*;

fn objects() -> impl Strategy<Value = (ObjectName, Object)> {
    prop_oneof![
        Just((ObjectName::vault(), Object::Vault)),
        (0..100_000_000u32, 0..100_000_000u32).prop_map(|(version, kek_version)| {
            let name = ObjectName::keys(version, kek_version).unwrap();
            (name, Object::Keys { version, kek_version })
        }),
        any::<[u8; 32]>()
            .prop_map(PackId::from_bytes)
            .prop_map(|id| { (ObjectName::pack(&id), Object::Pack(id)) }),
        any::<[u8; 16]>()
            .prop_map(SegmentId::from_bytes)
            .prop_map(|id| { (ObjectName::segment(&id), Object::Segment(id)) }),
        any::<[u8; 16]>()
            .prop_map(PointId::from_bytes)
            .prop_map(|id| { (ObjectName::point(&id), Object::Point(id)) }),
        any::<[u8; 16]>()
            .prop_map(PointId::from_bytes)
            .prop_map(|id| { (ObjectName::reach(&id), Object::Reach(id)) }),
        any::<(u32, u64)>().prop_map(|(epoch, from)| {
            (ObjectName::log(epoch, from), Object::Log { epoch, from })
        }),
    ]
}

proptest! {
    #[test]
    fn a_name_says_what_it_was_made_of((name, object) in objects()) {
        prop_assert_eq!(name.object(), object);
        prop_assert_eq!(ObjectName::parse(name.as_str()).unwrap(), object);
        prop_assert_eq!(name.as_str().parse::<ObjectName>().unwrap(), name);
    }

    #[test]
    fn any_text_is_a_name_of_something_or_refused(text in "[a-z0-9/.A-]{0,40}") {
        match ObjectName::parse(&text) {
            Ok(_) => prop_assert!(!text.contains('.') && !text.contains("//")),
            Err(error) => prop_assert_eq!(error.code, Code::UsageNameMalformed),
        }
    }
}

#[test]
fn names_are_written_as_the_format_says() {
    assert_eq!(ObjectName::vault().as_str(), "vault");
    assert_eq!(ObjectName::keys(1, 23).unwrap().as_str(), "keys/00000001/00000023");
    let pack = ObjectName::pack(&PackId::from_bytes([0xab; 32]));
    assert_eq!(pack.as_str(), format!("packs/ab/{}", "ab".repeat(32)));
    let log = ObjectName::log(7, 42);
    assert_eq!(log.as_str(), "cluster/log/0000000007-00000000000000000042");
    assert_eq!(ObjectName::log(u32::MAX, u64::MAX).as_str().len(), log.as_str().len());
}

#[test]
fn names_that_could_climb_or_need_quoting_are_refused() {
    let long_part = "x".repeat(256);
    let long = ["x"; 200].join("/");
    for bad in [
        "",
        "/",
        "/vault",
        "vault/",
        "packs//ab",
        "../vault",
        "packs/..",
        ".",
        "Vault",
        "a b",
        "a_b",
        "ä",
        "a\0",
        "a\n",
        &long_part,
        &long,
    ] {
        let error = ObjectName::parse(bad).unwrap_err();
        assert_eq!(error.code, Code::UsageNameMalformed, "{bad:?}");
        assert!(error.message.len() < 500, "a long name is not repeated whole");
    }
}

#[test]
fn names_of_nothing_we_know_are_left_alone() {
    let id = "ab".repeat(32);
    for strange in [
        "vault/x".to_owned(),
        "keys/1/2".to_owned(),
        "keys/000000001/00000001".to_owned(),
        format!("packs/ac/{id}"),
        format!("packs/a/{id}"),
        format!("packs/abab/{id}"),
        format!("packs/{id}"),
        format!("index/{id}"),
        "points/ab".to_owned(),
        "cluster/log/0000000007-42".to_owned(),
        "cluster/log/9999999999-00000000000000000042".to_owned(),
        "epochs/1".to_owned(),
        "journals/x".to_owned(),
    ] {
        assert_eq!(ObjectName::parse(&strange).unwrap(), Object::Unknown, "{strange}");
    }
}

#[test]
fn key_versions_beyond_eight_digits_cannot_be_written() {
    assert!(ObjectName::keys(99_999_999, 0).is_ok());
    assert_eq!(ObjectName::keys(0, 100_000_000).unwrap_err().code, Code::LimitExceeded);
}
