//! Typed headers both ways, and fields that are missing or malformed.

use proptest::option;
use proptest::prelude::*;

use super::*;

fn fields<'a>(pairs: &[(&'a str, &'a str)]) -> ExtFields<'a> {
    let mut fields = ExtFields::new();
    pairs.iter().for_each(|&(name, value)| fields.push(name, value));
    fields
}

#[test]
fn an_error_names_the_field() {
    let mut given = fields(&[("topic", "t"), ("queueId", "3"), ("unknown", "x")]);
    assert_eq!(SearchOffsetRequest::parse(&given), Err(FieldError::Missing("timestamp")));
    for value in ["", "1e3", "9223372036854775808", " 1"] {
        given.push("timestamp", value);
        let malformed = FieldError::Malformed { name: "timestamp", expected: "64-bit integer" };
        assert_eq!(SearchOffsetRequest::parse(&given), Err(malformed));
    }
    given.push("timestamp", "+5");
    let parsed = SearchOffsetRequest::parse(&given).unwrap();
    let expected =
        SearchOffsetRequest { topic: "t", queue_id: 3, timestamp: 5, boundary_type: None };
    assert_eq!(parsed, expected);
    let optional = FieldError::Malformed { name: "maxMsgBytes", expected: "32-bit integer" };
    assert_eq!(Option::<i32>::parse("maxMsgBytes", Some("x")), Err(optional));
    assert_eq!(optional.to_string(), "the custom field <maxMsgBytes> is no 32-bit integer");
}

#[test]
fn a_boolean_is_whether_it_says_true() {
    for (value, expected) in [("true", true), ("TRUE", true), ("1", false), ("", false)] {
        let given = fields(&[("topic", "t"), ("queueId", "0"), ("committed", value)]);
        assert_eq!(GetMaxOffsetRequest::parse(&given).unwrap().committed, Some(expected));
    }
}

prop_compose! {
    fn send()(
        texts in prop::array::uniform4("\\PC{0,8}"),
        numbers in any::<[i32; 4]>(),
        born_timestamp in any::<i64>(),
        rest in (option::of("\\PC{0,8}"), any::<[Option<bool>; 2]>(), any::<[Option<i32>; 2]>()),
    ) -> ([String; 4], [i32; 4], i64, (Option<String>, [Option<bool>; 2], [Option<i32>; 2])) {
        (texts, numbers, born_timestamp, rest)
    }
}

proptest! {
    #[test]
    fn both_forms_of_a_send_return(send in send()) {
        let (texts, numbers, born_timestamp, (properties, flags, times)) = &send;
        let short = SendMessageRequestV2 {
            producer_group: &texts[0],
            topic: &texts[1],
            default_topic: &texts[2],
            default_topic_queue_nums: numbers[0],
            queue_id: numbers[1],
            sys_flag: numbers[2],
            born_timestamp: *born_timestamp,
            flag: numbers[3],
            properties: properties.as_deref(),
            reconsume_times: times[0],
            unit_mode: flags[0],
            max_reconsume_times: times[1],
            batch: flags[1],
            broker_name: Some(&texts[3]),
        };
        let mut fields = ExtFields::new();
        short.write(&mut fields);
        prop_assert_eq!(&SendMessageRequestV2::parse(&fields).unwrap(), &short);
        prop_assert!(SendMessageRequest::parse(&fields).is_err());

        let long = SendMessageRequest::from(short);
        let mut fields = ExtFields::new();
        long.write(&mut fields);
        prop_assert_eq!(SendMessageRequest::parse(&fields).unwrap(), long);
    }
}
