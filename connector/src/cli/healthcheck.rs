//! Asks a daemon's health over HTTP, so that an image needs no other program for it.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::ExitCode,
    time::Duration,
};

const TIMEOUT: Duration = Duration::from_secs(4);

#[derive(Debug, clap::Args)]
pub(super) struct Healthcheck {
    /// Address of the HTTP port.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    http: SocketAddr,
}

impl Healthcheck {
    pub(super) fn run(&self) -> ExitCode {
        match self.ask() {
            Ok(answer)
                if answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200") =>
            {
                ExitCode::SUCCESS
            }
            Ok(answer) => {
                eprintln!(
                    "apono-connector: not ready: {}",
                    answer.lines().last().unwrap_or_default()
                );
                ExitCode::FAILURE
            }
            Err(error) => {
                eprintln!("apono-connector: no daemon answers on {}: {error}", self.http);
                ExitCode::FAILURE
            }
        }
    }

    fn ask(&self) -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&self.http, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.write_all(b"GET /readyz HTTP/1.0\r\nhost: localhost\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}
