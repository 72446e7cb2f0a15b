//! Servers that are to get one command at the same time: one job of Salt for all of them.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::{Salt, minion};
use crate::remote::command::Command;
use crate::remote::report::Report;
use crate::remote::{CommandId, Target};

/// A server's place among those that get one command at the same time. The command is sent once each place was taken or
/// given up, by being dropped.
pub struct Seat {
    id: CommandId,
    table: Arc<Table>,
    is_taken: bool,
}

/// A server that gets the command.
pub(super) struct Member {
    pub(super) server: String,
    pub(super) minion: String,
    pub(super) tell: oneshot::Sender<Report>,
}

struct Table(Mutex<State>);

struct State {
    /// Places that were neither taken nor given up.
    free: usize,
    taken: Vec<Member>,
    /// What to send, and by what, once there is anybody to send it to.
    sends: Option<(Salt, Command)>,
}

/// So many places for one command.
pub fn together(id: CommandId, count: usize) -> Vec<Seat> {
    let table = Arc::new(Table(Mutex::new(State { free: count, taken: Vec::new(), sends: None })));
    (0..count).map(|_| Seat { id, table: table.clone(), is_taken: false }).collect()
}

impl Seat {
    /// The id of the command, which is the same for all.
    pub fn id(&self) -> CommandId {
        self.id
    }

    /// Runs the command on this server, together with the others.
    pub(in crate::remote) async fn run(mut self, salt: &Salt, target: &Target, command: &Command) -> Report {
        let Some(minion) = minion(target) else {
            return Report::no_response("the server is not one of the driver `salt`");
        };
        let (tell, told) = oneshot::channel();
        {
            let mut state = self.table.lock();
            state.taken.push(Member { server: target.name.clone(), minion, tell });
            state.free -= 1;
            state.sends.get_or_insert_with(|| (salt.clone(), command.clone()));
        }
        self.is_taken = true;
        self.table.send_if_complete(self.id);
        told.await.unwrap_or_else(|_| Report::unknown("the command may have begun, and the job that sent it has ended"))
    }
}

impl Table {
    fn send_if_complete(&self, id: CommandId) {
        let mut state = self.lock();
        if state.free > 0 {
            return;
        }
        let Some((salt, command)) = state.sends.take() else { return };
        let members = std::mem::take(&mut state.taken);
        tokio::spawn(async move { salt.run_on(id, &command, members).await });
    }

    /// Nothing that holds the lock can leave a half-made change behind.
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.is_taken {
            return;
        }
        self.table.lock().free -= 1;
        self.table.send_if_complete(self.id);
    }
}
