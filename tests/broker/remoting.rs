//! Raw connections to RocketMQ's faces.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use bytes::{Bytes, BytesMut};
use mainstem::wire::rocketmq::{
    ExtFields, RemotingCommand, RequestCode, ResponseCode, Serialization,
};

use super::process::PATIENCE;

/// A connection that speaks RocketMQ's protocol.
pub struct Remoting {
    pub stream: TcpStream,
    opaque: i32,
}

/// What came from the broker.
#[derive(Debug)]
pub struct Told {
    pub code: i32,
    pub opaque: i32,
    pub is_response: bool,
    pub remark: String,
    pub fields: Vec<(String, String)>,
    pub body: Bytes,
}

impl Told {
    /// A field that has to be there.
    pub fn field(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    pub fn number(&self, name: &str) -> i64 {
        self.field(name).parse().unwrap()
    }

    #[track_caller]
    pub fn expect(self, code: ResponseCode) -> Self {
        assert_eq!(self.code, code.number(), "{self:?}");
        self
    }
}

impl Remoting {
    pub fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, opaque: 0 }
    }

    /// A request with a number of its own.
    pub fn request(&mut self, code: RequestCode) -> RemotingCommand<'static> {
        self.opaque += 1;
        let serialization =
            if self.opaque % 2 == 0 { Serialization::Json } else { Serialization::RocketMq };
        RemotingCommand::request(code, self.opaque, serialization)
    }

    pub fn send(&mut self, request: &RemotingCommand<'_>) {
        let mut bytes = BytesMut::new();
        request.encode(&mut bytes).unwrap();
        self.stream.write_all(&bytes).unwrap();
    }

    /// Sends a request and waits for its answer.
    pub fn ask(&mut self, request: &RemotingCommand<'_>) -> Told {
        self.send(request);
        let told = self.next().expect("the connection was closed");
        assert!(told.is_response && told.opaque == request.opaque, "{told:?}");
        told
    }

    /// Asks; notices that come before the answer are passed over.
    pub fn ask_among_notices(&mut self, request: &RemotingCommand<'_>) -> Told {
        self.send(request);
        loop {
            let told = self.next().expect("the connection was closed");
            if told.is_response {
                assert_eq!(told.opaque, request.opaque);
                return told;
            }
        }
    }

    /// Asks with these fields and this body.
    pub fn call(
        &mut self,
        code: RequestCode,
        write: impl FnOnce(&mut ExtFields<'static>),
        body: Bytes,
    ) -> Told {
        let mut request = self.request(code);
        write(&mut request.fields);
        request.body = body;
        self.ask(&request)
    }

    /// The next frame; none when the broker closed the connection.
    pub fn next(&mut self) -> Option<Told> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).ok()?;
        let mut bytes = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
        self.stream.read_exact(&mut bytes).unwrap();
        let frame = Bytes::from(bytes);
        let command = RemotingCommand::parse(&frame).unwrap();
        let fields = command.fields.iter();
        Some(Told {
            code: command.code,
            opaque: command.opaque,
            is_response: command.is_response(),
            remark: command.remark.as_deref().unwrap_or_default().to_owned(),
            fields: fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            body: command.body.clone(),
        })
    }
}
