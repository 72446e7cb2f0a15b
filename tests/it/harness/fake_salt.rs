//! A salt-api without a Salt behind it, with any number of minions: it answers at once, or lies.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use elita::outbound::provide_cryptography;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;

/// What it does wrong, by how often.
#[derive(Default)]
pub(crate) struct Lies {
    /// Takes so long for each answer.
    pub(crate) slow: Mutex<Duration>,
    /// Cuts the answer to a job off, after it has published it.
    pub(crate) cut: AtomicUsize,
    /// Knows a token no more.
    pub(crate) forgetful: AtomicUsize,
    /// Closes the stream of events instead of telling a return.
    pub(crate) deaf: AtomicUsize,
    /// Tells, before each return, of others that nobody asked for.
    pub(crate) talkative: AtomicUsize,
    /// Tells a gigabyte instead of a return, and has a gigabyte in its job cache.
    pub(crate) flood: AtomicUsize,
}

/// A fake, as long as its test lasts.
#[derive(Clone)]
pub(crate) struct FakeSalt(Arc<State>);

struct State {
    port: u16,
    lies: Lies,
    log_ins: AtomicUsize,
    tokens: Mutex<Vec<String>>,
    /// Every job, in order.
    jobs: Mutex<Vec<Value>>,
    /// What minions have returned, by jid.
    returned: Mutex<HashMap<String, HashMap<String, Value>>>,
    events: broadcast::Sender<Event>,
}

#[derive(Clone)]
enum Event {
    Says(Arc<str>),
    Closes,
    Floods(Arc<str>),
}

impl FakeSalt {
    pub(crate) async fn start() -> Self {
        provide_cryptography();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let fake = Self(Arc::new(State {
            port: listener.local_addr().unwrap().port(),
            lies: Lies::default(),
            log_ins: AtomicUsize::default(),
            tokens: Mutex::default(),
            jobs: Mutex::default(),
            returned: Mutex::default(),
            events: broadcast::channel(10_000).0,
        }));
        let state = fake.0.clone();
        tokio::spawn(async move {
            loop {
                let (connection, _) = listener.accept().await.unwrap();
                let state = state.clone();
                tokio::spawn(async move {
                    // Whatever goes wrong is the client's choice.
                    let _ = state.serve(connection).await;
                });
            }
        });
        fake
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.0.port)
    }

    pub(crate) fn lies(&self) -> &Lies {
        &self.0.lies
    }

    pub(crate) fn log_ins(&self) -> usize {
        self.0.log_ins.load(Ordering::SeqCst)
    }

    /// The jobs that run commands, in which Elita's scripts do so.
    pub(crate) fn commands(&self) -> Vec<Value> {
        let jobs = self.0.jobs.lock().unwrap();
        jobs.iter().filter(|job| is_command(job)).cloned().collect()
    }

    /// All jobs of this function.
    pub(crate) fn jobs(&self, function: &str) -> Vec<Value> {
        self.0.jobs.lock().unwrap().iter().filter(|job| job["fun"] == function).cloned().collect()
    }
}

/// Whether a job runs a command of a test, and not one that looks what there is on a new server.
fn is_command(job: &Value) -> bool {
    stdin(job).contains("command_() {") && !stdin(job).contains("git --version")
}

fn stdin(job: &Value) -> &str {
    job["kwarg"]["stdin"].as_str().unwrap_or_default()
}

/// Takes one of so many, if there are any left.
fn take(of: &AtomicUsize) -> bool {
    of.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

impl State {
    async fn serve(self: Arc<Self>, connection: TcpStream) -> std::io::Result<()> {
        let mut connection = BufReader::new(connection);
        loop {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(connection.read_u8().await?);
            }
            let head = String::from_utf8(head).unwrap();
            let header = |name: &str| {
                let lines = head.lines().filter_map(|line| line.split_once(": "));
                lines.into_iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
            };
            let length = header("content-length").map_or(0, |length| length.parse().unwrap());
            let mut body = vec![0; length];
            connection.read_exact(&mut body).await?;
            let slow = *self.lies.slow.lock().unwrap();
            tokio::time::sleep(slow).await;
            if head.starts_with("POST /login ") {
                let answer = self.log_in(&body);
                reply(&mut connection, "200 OK", answer.to_string().as_bytes()).await?;
                continue;
            }
            let token = header("x-auth-token").unwrap_or_default();
            if take(&self.lies.forgetful) {
                self.tokens.lock().unwrap().clear();
            }
            if !self.tokens.lock().unwrap().contains(&token) {
                reply(&mut connection, "401 Unauthorized", b"<html><p>No permission</p></html>").await?;
                continue;
            }
            if head.starts_with("GET /events ") {
                return self.tell_events(connection).await;
            }
            let asked: Value = serde_json::from_slice(&body).unwrap();
            let (answer, is_cut) = self.clone().answer(&asked[0]);
            match answer {
                Some(answer) if is_cut => {
                    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n";
                    connection.write_all(head.as_bytes()).await?;
                    connection.write_all(&answer.to_string().as_bytes()[..10]).await?;
                    return connection.shutdown().await;
                }
                Some(answer) => {
                    reply(&mut connection, "200 OK", json!({ "return": [answer] }).to_string().as_bytes()).await?;
                }
                None => {
                    connection.write_all(b"HTTP/1.1 200 OK\r\n\r\n{\"return\": [{\"Result\": {\"m1\": \"").await?;
                    return flood(&mut connection).await;
                }
            }
        }
    }

    fn log_in(&self, body: &[u8]) -> Value {
        let asked: Value = serde_json::from_slice(body).unwrap();
        assert_eq!(
            (&asked["username"], &asked["password"], &asked["eauth"]),
            (&json!("elita"), &json!(super::salt::SALT_SECRET), &json!("sharedsecret"))
        );
        let token = format!("token-{}", self.log_ins.fetch_add(1, Ordering::SeqCst));
        self.tokens.lock().unwrap().push(token.clone());
        json!({ "return": [{ "token": token, "expire": 1.0e9, "eauth": "sharedsecret" }] })
    }

    /// An answer, and whether it is to be cut off. `None`: a gigabyte.
    fn answer(self: Arc<Self>, asked: &Value) -> (Option<Value>, bool) {
        if asked["client"] == "runner" {
            assert_eq!(asked["fun"], "jobs.list_job");
            let returned = self.returned.lock().unwrap();
            let Some(job) = returned.get(asked["kwarg"]["jid"].as_str().unwrap()) else {
                return (Some(json!({ "Error": "Cannot contact returner or no job with this jid" })), false);
            };
            if self.lies.flood.load(Ordering::SeqCst) > 0 {
                return (None, false);
            }
            return (Some(json!({ "Result": job })), false);
        }
        assert_eq!((&asked["client"], &asked["tgt_type"]), (&json!("local_async"), &json!("list")), "{asked}");
        let jid = asked["jid"].as_str().unwrap().to_owned();
        let is_new = !self.returned.lock().unwrap().contains_key(&jid);
        self.jobs.lock().unwrap().push(asked.clone());
        self.returned.lock().unwrap().entry(jid.clone()).or_default();
        let minions: Vec<String> = serde_json::from_value(asked["tgt"].clone()).unwrap();
        let is_cut = is_command(asked) && take(&self.lies.cut);
        if is_new {
            let (asked, minions) = (asked.clone(), minions.clone());
            let state = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                for minion in minions {
                    state.returns(&asked, &minion);
                }
            });
        }
        (Some(json!({ "jid": jid, "minions": minions })), is_cut)
    }

    /// What a minion does, and says.
    fn returns(&self, job: &Value, minion: &str) {
        let jid = job["jid"].as_str().unwrap();
        let value = match job["fun"].as_str().unwrap() {
            "test.ping" => json!(true),
            "saltutil.find_job" => json!({}),
            "grains.get" => json!(if minion.starts_with("windows") { "Windows" } else { "Linux" }),
            // As one says that runs Windows.
            "cmd.run_all" if minion.starts_with("windows") && job["kwarg"]["cmd"][0] == "/bin/sh" => {
                json!(
                    "ERROR: Unable to run command '['/bin/sh', '-c', '…']' with the context '{…}', reason: [WinError 2] \
                       The system cannot find the file specified"
                )
            }
            "cmd.run_all" => {
                let Some(stdout) = said(job, minion) else { return };
                json!({ "pid": 1, "retcode": 0, "stdout": stdout, "stderr": "" })
            }
            _ => json!(null),
        };
        if minion.starts_with("silent") {
            return;
        }
        let returned = json!({ "return": value, "retcode": 0, "success": true, "jid": jid, "id": minion });
        self.returned.lock().unwrap().entry(jid.into()).or_default().insert(minion.into(), returned.clone());
        let tag = format!("salt/job/{jid}/ret/{minion}");
        let is_command = is_command(job);
        if is_command && take(&self.lies.deaf) {
            let _ = self.events.send(Event::Closes);
            return;
        }
        if is_command && take(&self.lies.talkative) {
            let other = json!({ "return": "a lie", "retcode": 0, "success": true, "jid": jid, "id": "m9" });
            self.tell(&format!("salt/job/{jid}/ret/m9"), &other);
            self.tell(&tag, &other);
            self.tell(&format!("salt/job/20200101000000000000/ret/{minion}"), &returned);
        }
        if is_command && take(&self.lies.flood) {
            let start = format!("tag: {tag}\ndata: {{\"tag\": \"{tag}\", \"data\": {{\"return\": \"");
            let _ = self.events.send(Event::Floods(start.into()));
            return;
        }
        self.tell(&tag, &returned);
        if self.lies.talkative.load(Ordering::SeqCst) > 0 {
            self.tell(&tag, &json!({ "return": "a second one", "jid": jid, "id": minion }));
        }
    }

    fn tell(&self, tag: &str, data: &Value) {
        let event = json!({ "tag": tag, "data": data });
        let _ = self.events.send(Event::Says(format!("tag: {tag}\ndata: {event}\n\n").into()));
    }

    async fn tell_events(&self, mut connection: BufReader<TcpStream>) -> std::io::Result<()> {
        let mut events = self.events.subscribe();
        connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nretry: 400\n").await?;
        loop {
            match events.recv().await.map_err(std::io::Error::other)? {
                Event::Says(text) => connection.write_all(text.as_bytes()).await?,
                Event::Closes => return connection.shutdown().await,
                Event::Floods(start) => {
                    connection.write_all(start.as_bytes()).await?;
                    return flood(&mut connection).await;
                }
            }
        }
    }
}

/// What Elita's script says on a minion. `None`: nothing.
fn said(job: &Value, minion: &str) -> Option<String> {
    if job["kwarg"]["cmd"][0] == "powershell.exe" {
        return by_powershell(stdin(job), minion);
    }
    let script = stdin(job);
    let mark = script.strip_prefix("n=")?.split(r"\n").next()?;
    let ended = |out: &str| ended(mark, out);
    Some(if script.contains("command_() {") {
        format!("{mark} start\n{}", ended(&format!("I am {minion}\n")))
    } else if script.contains("say forgotten") {
        format!("{mark} forgotten\n")
    } else if script.contains("say lost") {
        ended("looked at\n")
    } else {
        format!("{mark} stopped\n")
    })
}

fn ended(mark: &str, out: &str) -> String {
    of(mark, "end 0", out)
}

/// What a script says of a command that has ended like this.
fn of(mark: &str, end: &str, out: &str) -> String {
    format!("{mark} {end} 0 {} 0\n{out}{mark} err\n{mark} done\n", out.len())
}

/// What Elita's script for PowerShell says.
fn by_powershell(stdin: &str, minion: &str) -> Option<String> {
    let asked = STANDARD.decode(stdin.lines().nth(1)?).ok()?;
    let asked: Value = serde_json::from_slice(&asked).ok()?;
    let mark = asked["mark"].as_str()?;
    // The program of this name ends with the code that is its argument.
    let code = if asked["program"] == "exit" { asked["arguments"].as_str()? } else { "0" };
    let end = format!("exit {code}");
    Some(match asked["request"].as_str()? {
        "run" => format!("{mark} start\n{}", of(mark, &end, &format!("I am {minion}\n"))),
        "look" => of(mark, &end, "looked at\n"),
        "forget" => format!("{mark} forgotten\n"),
        _ => format!("{mark} stopped\n"),
    })
}

async fn reply(connection: &mut BufReader<TcpStream>, status: &str, body: &[u8]) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    connection.write_all(head.as_bytes()).await?;
    connection.write_all(body).await?;
    connection.flush().await
}

/// A gigabyte, or as much of it as is read.
async fn flood(connection: &mut BufReader<TcpStream>) -> std::io::Result<()> {
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..1024 {
        connection.write_all(&piece).await?;
    }
    connection.shutdown().await
}
