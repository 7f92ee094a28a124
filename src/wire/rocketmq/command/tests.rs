//! Frames both ways, in both serializations, and frames that are broken.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

fn json_frame(header: &str, body: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u32(header.len() as u32);
    frame.put_slice(header.as_bytes());
    frame.put_slice(body);
    frame.freeze()
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,8}", "\\PC{1,6}", "[\u{1}\u{2}\"\\\\a]{1,9}"]
}

prop_compose! {
    fn command()(
        code in any::<i16>(),
        language in prop::sample::select(Language::ALL),
        version in any::<i16>(),
        opaque in any::<i32>(),
        flag in any::<i32>(),
        remark in option::of(text()),
        fields in vec((text(), text()), 0..6),
        binary in any::<bool>(),
        body in vec(any::<u8>(), 0..50),
    ) -> RemotingCommand<'static> {
        let mut ext_fields = ExtFields::new();
        fields.into_iter().for_each(|(name, value)| ext_fields.push(name, value));
        RemotingCommand {
            code: i32::from(code),
            language,
            version: i32::from(version),
            opaque,
            flag,
            remark: remark.map(Cow::Owned),
            fields: ext_fields,
            serialization: if binary { Serialization::RocketMq } else { Serialization::Json },
            body: body.into(),
        }
    }
}

fn encoded(command: &RemotingCommand<'_>) -> Bytes {
    let mut frame = BytesMut::new();
    command.encode(&mut frame).unwrap();
    let length = frame.get_i32();
    assert_eq!(length as usize, frame.len());
    frame.freeze()
}

#[test]
fn a_header_is_read_as_fastjson_would() {
    let header = r#"{"version":"317","flag":null,"code":"11","extFields":{"queueId":3,"order":true,
        "Signature":null,"topic":"a\u0001b","rate":1.5,"queueId":4,"large":18446744073709551615},"opaque":7,"language":"GO",
        "suspended":{"a":[1,{}]},"remark":null}"#;
    let frame = json_frame(header, b"body");
    let command = RemotingCommand::parse(&frame).unwrap();
    let RemotingCommand { code, version, opaque, flag, .. } = command;
    assert_eq!((code, version, opaque, flag), (11, 317, 7, 0));
    assert_eq!((command.language, &command.remark), (Language::Go, &None));
    let fields: Vec<_> = command.fields.iter().collect();
    let expected = [
        ("queueId", "3"),
        ("order", "true"),
        ("topic", "a\u{1}b"),
        ("rate", "1.5"),
        ("queueId", "4"),
        ("large", "18446744073709551615"),
    ];
    assert_eq!(fields, expected);
    assert_eq!(command.fields.get("queueId"), Some("4"));
    assert_eq!(command.fields.get("Signature"), None);
    assert_eq!(&command.body[..], b"body");
}

#[test]
fn strings_are_borrowed_and_the_body_is_shared() {
    let frame = json_frame(r#"{"code":1,"extFields":{"topic":"t"},"remark":"r"}"#, b"body");
    let command = RemotingCommand::parse(&frame).unwrap();
    let range = frame.as_ptr_range();
    let (name, value) = command.fields.iter().next().unwrap();
    for part in [name.as_bytes(), value.as_bytes(), &command.body] {
        assert!(range.contains(&part.as_ptr()));
    }
    assert!(matches!(command.remark, Some(Cow::Borrowed("r"))));
}

#[test]
fn null_fields_and_an_empty_header_are_nothing() {
    for header in [r#"{"extFields":null}"#, "{}"] {
        let frame = json_frame(header, b"");
        let command = RemotingCommand::parse(&frame).unwrap();
        assert_eq!((command.code, command.fields.iter().len()), (0, 0));
        assert_eq!(command.language, Language::Unknown);
    }
}

#[test]
fn what_is_no_header_is_refused() {
    for header in ["", "[]", "{", r#"{"code":{}}"#, r#"{"code":"x"}"#, r#"{"code":3000000000}"#] {
        let refused = RemotingCommand::parse(&json_frame(header, b"")).map(drop);
        assert!(matches!(refused, Err(WireError::Json(_))), "{header}: {refused:?}");
    }
    let nested = json_frame(r#"{"extFields":{"a":["b"]}}"#, b"");
    assert!(matches!(RemotingCommand::parse(&nested), Err(WireError::Json(_))));
    let parse = |frame: &'static [u8]| RemotingCommand::parse(&Bytes::from(frame)).map(drop);
    assert_eq!(parse(&[2, 0, 0, 0]), Err(WireError::UnknownSerialization(2)));
    assert_eq!(parse(&[0, 0, 0, 5, b'{']), Err(WireError::Truncated { needed: 5, left: 1 }));
    let max_bytes = HEADER_BYTES_MAX;
    let long = WireError::HeaderLength { claimed: max_bytes + 1, max_bytes };
    assert_eq!(parse(&[1, 0x10, 0, 1]), Err(long));
    assert_eq!(parse(&[0]), Err(WireError::Truncated { needed: 4, left: 1 }));
}

#[test]
fn an_answer_mirrors_its_request() {
    let mut request =
        RemotingCommand::request(RequestCode::HeartBeat, 42, Serialization::RocketMq).one_way();
    assert!(request.is_one_way() && !request.is_response());
    request.version = 317;
    let answer = RemotingCommand::answer(&request, ResponseCode::SystemBusy);
    assert_eq!((answer.code, answer.opaque, answer.version), (2, 42, VERSION));
    assert_eq!(answer.serialization, Serialization::RocketMq);
    assert!(answer.is_response() && !answer.is_one_way());
}

#[test]
fn what_a_header_cannot_hold_is_an_error() {
    let mut command = RemotingCommand::request(RequestCode::PopMessage, 1, Serialization::RocketMq);
    let mut out = BytesMut::from(&b"before"[..]);
    assert!(matches!(command.encode(&mut out), Err(WireError::Encode(_))));
    command.code = 10;
    command.fields.push("i".repeat(40_000), "");
    assert!(matches!(command.encode(&mut out), Err(WireError::Encode(_))));
    command.serialization = Serialization::Json;
    command.fields.push("j", "v".repeat(HEADER_BYTES_MAX));
    assert!(matches!(command.encode(&mut out), Err(WireError::Encode(_))));
    assert_eq!(&out[..], b"before");
}

proptest! {
    #[test]
    fn commands_return(command in command()) {
        let frame = encoded(&command);
        prop_assert_eq!(RemotingCommand::parse(&frame).unwrap(), command);
    }

    #[test]
    fn a_cut_header_is_refused(command in command(), cut in any::<prop::sample::Index>()) {
        let frame = encoded(&command);
        let head = frame.len() - command.body.len();
        let cut = frame.slice(..cut.index(head));
        prop_assert!(RemotingCommand::parse(&cut).is_err());
    }

    #[test]
    fn broken_frames_are_survived(
        command in command(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        noise in vec(any::<u8>(), 0..100),
    ) {
        let mut frame = encoded(&command).to_vec();
        let at = at.index(frame.len());
        frame[at] = byte;
        let _ = RemotingCommand::parse(&frame.into());
        for serialization in 0..2 {
            let mut frame = vec![serialization, 0, 0, noise.len() as u8];
            frame.extend(&noise);
            let _ = RemotingCommand::parse(&frame.into());
        }
    }
}
