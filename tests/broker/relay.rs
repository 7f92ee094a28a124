//! A port that stays the same while the broker behind it changes.
//!
//! A broker that is restarted could be given its old port again, but in between another process may
//! have taken it. Clients are told to connect here instead.

use std::{
    io,
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// Connections are passed on for as long as the process lives.
pub struct Relay {
    /// Where clients connect.
    pub address: String,
    target: Arc<Mutex<Option<String>>>,
}

impl Relay {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let target = Arc::<Mutex<Option<String>>>::default();
        let shared = Arc::clone(&target);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let target = shared.lock().unwrap().clone();
                // Without a broker the client's connection is closed.
                let broker = target.and_then(|target| TcpStream::connect(target).ok());
                if let Some(broker) = broker {
                    pass(client.try_clone().unwrap(), broker.try_clone().unwrap());
                    pass(broker, client);
                }
            }
        });
        Self { address, target }
    }

    /// Passes new connections on to this address.
    pub fn to(&self, target: &str) {
        *self.target.lock().unwrap() = Some(target.to_owned());
    }

    /// The setting by which the broker names this port to its clients.
    pub fn advertised(&self) -> String {
        format!("kafka.advertised={}", self.address)
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
}
