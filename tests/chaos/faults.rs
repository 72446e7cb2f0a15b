//! Breaks things, and puts them right again.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use sqlx::types::Uuid;
use time::OffsetDateTime;
use tokio::time::sleep;

use super::cable::State;
use super::fleet::Fleet;
use super::journal::{Blow, Journal};
use super::plan::{Fault, Step};
use super::postgres::Postgres;

/// Everything that can be broken.
pub(crate) struct Scene {
    pub(crate) fleet: Fleet,
    pub(crate) postgres: Postgres,
    journal: Journal,
    began: Instant,
}

impl Scene {
    pub(crate) fn new(fleet: Fleet, postgres: Postgres, journal: Journal) -> Self {
        Self { fleet, postgres, journal, began: Instant::now() }
    }

    /// Breaks something for a while.
    pub(crate) async fn carry_out(&mut self, step: &Step) -> Result<()> {
        let Step { pause, fault, host, lasts } = *step;
        sleep(pause).await;
        let name = &self.fleet.hosts[host].name;
        println!("{:6.1} s {fault:?} of {name} for {:.1} s", self.began.elapsed().as_secs_f64(), lasts.as_secs_f64());
        self.break_and_mend(fault, host, lasts).await.with_context(|| format!("in {fault:?}"))
    }

    async fn break_and_mend(&mut self, fault: Fault, host: usize, lasts: Duration) -> Result<()> {
        match fault {
            Fault::Stop => {
                self.strike(fault);
                self.fleet.hosts[host].stop().await?;
                self.fleet.hosts[host].start().await
            }
            Fault::Kill | Fault::KillForLong => {
                self.kill(fault, host).await?;
                sleep(lasts).await;
                self.fleet.hosts[host].start().await
            }
            Fault::Replace => {
                self.kill(fault, host).await?;
                sleep(lasts).await;
                self.fleet.replace(host, &self.postgres).await
            }
            Fault::Freeze => {
                self.fleet.hosts[host].signal(Signal::STOP)?;
                self.strike_host(fault, host).await?;
                sleep(lasts).await;
                self.fleet.hosts[host].signal(Signal::CONT)
            }
            Fault::CutOff => self.spoil_cable(fault, host, State::Cut, lasts).await,
            Fault::Stall => self.spoil_cable(fault, host, State::Stalled, lasts).await,
            Fault::KillPostgres => {
                self.strike(fault);
                self.postgres.kill().await?;
                sleep(lasts).await;
                self.postgres.run().await?;
                self.note_return();
                Ok(())
            }
            Fault::Sever => {
                let began = Instant::now();
                while began.elapsed() < lasts {
                    self.strike(fault);
                    self.postgres.sever().await?;
                    sleep(lasts / 6).await;
                }
                Ok(())
            }
            Fault::LoseAnswers => {
                let began = Instant::now();
                while began.elapsed() < lasts {
                    self.strike(fault);
                    for (state, time) in [(State::Mute, 30), (State::Cut, 5), (State::Whole, 200)] {
                        self.set_cables(state);
                        sleep(Duration::from_millis(time)).await;
                    }
                }
                Ok(())
            }
            Fault::Slow => {
                self.strike(fault);
                self.set_cables(State::Slow);
                sleep(lasts).await;
                self.set_cables(State::Whole);
                Ok(())
            }
            Fault::FillDisk => self.fill_disk(lasts).await,
            Fault::PowerCut => {
                self.strike(fault);
                for host in &self.fleet.hosts {
                    host.signal(Signal::KILL)?;
                }
                self.postgres.kill().await?;
                for host in &mut self.fleet.hosts {
                    host.kill().await?;
                }
                sleep(lasts).await;
                self.mend().await
            }
            Fault::NoNotify => {
                self.restart_all(true).await?;
                sleep(lasts / 2).await;
                self.kill(Fault::Kill, host).await?;
                self.fleet.hosts[host].start().await?;
                sleep(lasts / 2).await;
                self.restart_all(false).await
            }
        }
    }

    async fn kill(&mut self, fault: Fault, host: usize) -> Result<()> {
        self.fleet.hosts[host].kill().await?;
        self.strike_host(fault, host).await
    }

    async fn spoil_cable(&self, fault: Fault, host: usize, state: State, lasts: Duration) -> Result<()> {
        self.fleet.hosts[host].cable.set(state);
        self.strike_host(fault, host).await?;
        sleep(lasts).await;
        self.fleet.hosts[host].cable.set(State::Whole);
        Ok(())
    }

    fn set_cables(&self, state: State) {
        for host in &self.fleet.hosts {
            host.cable.set(state);
        }
    }

    async fn fill_disk(&mut self, lasts: Duration) -> Result<()> {
        self.strike(Fault::FillDisk);
        if !self.postgres.fill_disk()? {
            println!("         it cannot be filled, and is not");
            return Ok(());
        }
        sleep(lasts).await;
        self.postgres.free_disk()?;
        // It ends by itself when it cannot even recover.
        self.postgres.run().await?;
        self.note_return();
        Ok(())
    }

    async fn restart_all(&mut self, no_notify: bool) -> Result<()> {
        self.strike(Fault::NoNotify);
        for host in &mut self.fleet.hosts {
            host.stop().await?;
            host.no_notify = no_notify;
            host.start().await?;
        }
        Ok(())
    }

    /// Starts everything that does not run.
    pub(crate) async fn mend(&mut self) -> Result<()> {
        self.note_blow(None);
        self.postgres.run().await?;
        for host in &mut self.fleet.hosts {
            host.cable.set(State::Whole);
            host.start().await?;
        }
        Ok(())
    }

    fn strike(&self, fault: Fault) {
        self.note_blow(Some(fault));
    }

    /// Notes what a server held when it was struck, which others have to take over in time.
    async fn strike_host(&self, fault: Fault, host: usize) -> Result<()> {
        let at = OffsetDateTime::now_utc();
        let host = &self.fleet.hosts[host];
        let held: Vec<(Uuid, i32)> = sqlx::query_as(
            "select jobs.id, attempt from jobs join workers on workers.id = jobs.worker
             where workers.host_id = $1 and status = 'running'",
        )
        .bind(host.id()?)
        .fetch_all(&mut self.postgres.connect().await?)
        .await?;
        let held = held.into_iter().map(|(job, attempt)| (job, i64::from(attempt))).collect();
        self.journal.note().blows.push(Blow { at, fault: Some(fault), host: host.name.clone(), held });
        Ok(())
    }

    fn note_blow(&self, fault: Option<Fault>) {
        let blow = Blow { at: OffsetDateTime::now_utc(), fault, host: String::new(), held: Vec::new() };
        self.journal.note().blows.push(blow);
    }

    fn note_return(&self) {
        self.journal.note().returns.push(OffsetDateTime::now_utc());
    }
}

/// Lets the user that runs Postgres pass through a directory.
pub(crate) fn let_through(directory: &Path) -> Result<()> {
    Ok(fs::set_permissions(directory, Permissions::from_mode(0o711))?)
}
