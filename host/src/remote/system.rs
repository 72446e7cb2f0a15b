//! What runs on servers: the family of operating systems decides what a server is sent. It is asked once, and kept for
//! a while.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Reach, Remote, Target};

/// How long it is believed that a server runs what it ran before.
const KEPT: Duration = Duration::from_secs(3600);
/// How many servers are remembered.
const MAX_REMEMBERED: usize = 20_000;

/// A family of operating systems: all of it takes the same commands.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Os {
    /// Linux, the BSDs, macOS and the like, with a POSIX shell.
    Unix,
    /// Windows, with PowerShell.
    Windows,
}

/// What runs on a server.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct System {
    /// Its family.
    pub os: Os,
    /// Its name, as it says it itself: `Linux`, `Darwin`, `Windows`.
    pub name: String,
}

/// What is known of servers.
#[derive(Default)]
pub(super) struct KnownSystems(Mutex<HashMap<String, (Reach, System, Instant)>>);

impl KnownSystems {
    fn find(&self, target: &Target) -> Option<System> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (reach, system, at) = known.get(&target.name)?;
        (*reach == target.reach && at.elapsed() < KEPT).then(|| system.clone())
    }

    fn keep(&self, target: &Target, system: &System) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_REMEMBERED {
            known.retain(|_, (_, _, at)| at.elapsed() < KEPT / 2);
        }
        if known.len() < MAX_REMEMBERED {
            known.insert(target.name.clone(), (target.reach.clone(), system.clone(), Instant::now()));
        }
    }
}

impl Remote {
    /// What runs on a server, if it was asked within the last hour.
    pub fn known_system(&self, target: &Target) -> Option<System> {
        self.0.systems.find(target)
    }

    /// What runs on a server: it is asked, unless that is known.
    ///
    /// # Errors
    /// Why it did not say, in a sentence.
    pub async fn system(&self, target: &Target) -> Result<System, String> {
        match self.known_system(target) {
            Some(system) => Ok(system),
            None => self.ask_system(target).await,
        }
    }

    /// What runs on a server: it is asked now. So this says whether it can be reached, too.
    ///
    /// # Errors
    /// Those of [`Remote::system`].
    pub async fn ask_system(&self, target: &Target) -> Result<System, String> {
        let driver = self.driver(target)?;
        let _room = self.room(target).await;
        let system = driver.system(target).await?;
        self.0.systems.keep(target, &system);
        Ok(system)
    }
}
