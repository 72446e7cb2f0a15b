//! A salt-api without a Salt behind it: every minion does what it is asked in the same time, and has no load.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;

/// How many events may wait for the one who reads them.
const EVENTS: usize = 10_000;

#[derive(Clone)]
pub(crate) struct FakeSalt {
    pub(crate) address: SocketAddr,
    events: broadcast::Sender<Arc<str>>,
    takes: Duration,
}

impl FakeSalt {
    /// One whose minions take so long for a command.
    pub(crate) async fn start(takes: Duration) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let fake = Self { address: listener.local_addr()?, events: broadcast::channel(EVENTS).0, takes };
        let serving = fake.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let fake = serving.clone();
                // The client closes it when it likes.
                tokio::spawn(async move { drop(fake.serve(connection).await) });
            }
        });
        Ok(fake)
    }

    async fn serve(&self, connection: TcpStream) -> anyhow::Result<()> {
        let mut connection = BufReader::new(connection);
        loop {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(connection.read_u8().await?);
            }
            let head = String::from_utf8(head)?.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let mut body = vec![0; length.map_or(Ok(0), str::parse)?];
            connection.read_exact(&mut body).await?;
            if head.starts_with("get /events ") {
                return self.tell_events(connection).await;
            }
            let answer = match head.starts_with("post /login ") {
                true => json!({ "token": "any", "expire": 1.0e11, "eauth": "sharedsecret" }),
                false => self.answer(&serde_json::from_slice::<Value>(&body)?[0])?,
            };
            let answer = json!({ "return": [answer] }).to_string();
            let length = answer.len();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
            connection.write_all((head + &answer).as_bytes()).await?;
            connection.flush().await?;
        }
    }

    fn answer(&self, asked: &Value) -> anyhow::Result<Value> {
        let jid = asked["jid"].as_str().context("no jid")?.to_owned();
        let minions: Vec<String> = serde_json::from_value(asked["tgt"].clone())?;
        let said = said(asked["kwarg"]["stdin"].as_str().unwrap_or_default());
        let value = said.map(|stdout| json!({ "pid": 1, "retcode": 0, "stdout": stdout, "stderr": "" }));
        let (fake, answer) = (self.clone(), json!({ "jid": jid, "minions": minions }));
        tokio::spawn(async move {
            tokio::time::sleep(fake.takes).await;
            for minion in minions {
                let tag = format!("salt/job/{jid}/ret/{minion}");
                let data = json!({ "return": value, "retcode": 0, "success": true, "jid": jid, "id": minion });
                let event = json!({ "tag": tag, "data": data });
                // Nobody may be listening.
                let _ = fake.events.send(format!("tag: {tag}\ndata: {event}\n\n").into());
            }
        });
        Ok(answer)
    }

    async fn tell_events(&self, mut connection: BufReader<TcpStream>) -> anyhow::Result<()> {
        let mut events = self.events.subscribe();
        connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nretry: 400\n").await?;
        loop {
            connection.write_all(events.recv().await?.as_bytes()).await?;
        }
    }
}

/// What Elita's script would say on a minion.
fn said(script: &str) -> Option<String> {
    let mark = script.strip_prefix("n=")?.split(r"\n").next()?;
    Some(match script.contains("say forgotten") {
        true => format!("{mark} forgotten\n"),
        false => format!("{mark} start\n{mark} end 0 0 0 0\n{mark} err\n{mark} done\n"),
    })
}
