//! Ports for systems that cannot be told to choose their own.

use crate::error::{Doing, PerfError, Result};
use std::net::TcpListener;

/// How often a port is asked for whose neighbour is free as well.
const ATTEMPTS: usize = 100;

/// A port held until this is dropped; it stays free for a moment after that.
pub struct FreePort {
    listener: TcpListener,
}

impl FreePort {
    /// One that the kernel chooses.
    ///
    /// # Errors
    /// There is none.
    pub fn any() -> Result<Self> {
        Self::bind(0)
    }

    /// One that the kernel chooses, and the one `distance` below it.
    ///
    /// # Errors
    /// There is no such pair.
    pub fn with_lower(distance: u16) -> Result<(Self, Self)> {
        // Refused pairs are held, so that the kernel offers others.
        let mut refused = Vec::new();
        for _ in 0..ATTEMPTS {
            let upper = Self::any()?;
            match Self::bind(upper.number()? - distance) {
                Ok(lower) => return Ok((upper, lower)),
                Err(_) => refused.push(upper),
            }
        }
        Err(PerfError::Failed(format!("no two free ports {distance} apart")))
    }

    /// Its number.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn number(&self) -> Result<u16> {
        Ok(self.listener.local_addr().doing(|| "finding a free port".into())?.port())
    }

    fn bind(port: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port));
        Ok(Self { listener: listener.doing(|| "finding a free port".into())? })
    }
}
