//! A company's proxy that treats every CONNECT alike.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::origin::hold;

/// What it does when it is asked.
#[derive(Clone, Copy)]
pub(crate) enum Mood {
    /// It leads to this address, whatever it was asked for.
    Leads(&'static str),
    /// It answers with these bytes and hangs up.
    Says(&'static str),
    /// It says nothing.
    Silent,
}

/// A running proxy.
pub(crate) struct Corp {
    asked: Arc<Mutex<Vec<String>>>,
}

impl Corp {
    pub(crate) async fn at(address: &str, mood: Mood) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let corp = Self { asked: Arc::default() };
        let asked = Arc::clone(&corp.asked);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let asked = Arc::clone(&asked);
                tokio::spawn(async move { serve(tcp, mood, &asked).await });
            }
        });
        corp
    }

    /// What it was asked for, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(mut tcp: TcpStream, mood: Mood, asked: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = tcp.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).unwrap();
    asked.lock().unwrap().push(target.to_owned());
    match mood {
        Mood::Silent => hold(tcp).await,
        // Whoever asked may have gone, here and below.
        Mood::Says(answer) => drop(tcp.write_all(answer.as_bytes()).await),
        Mood::Leads(onward) => {
            let mut onward = TcpStream::connect(onward).await.unwrap();
            let _ = tcp.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await;
            drop(copy_bidirectional(&mut tcp, &mut onward).await);
        }
    }
}
