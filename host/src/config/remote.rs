//! The settings of remote commands.

use clap::Args;

/// How servers are reached.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Servers")]
pub struct RemoteSettings {
    /// Allows servers of the driver `local`, which are directories of this machine: whoever may send commands to them
    /// runs programs here. Without it they are allowed with --dev, where --listen is a loopback address.
    #[arg(id = "local-servers", long = "local-servers", env = "ELITA_LOCAL_SERVERS")]
    pub local: bool,
    /// Commands that run on servers at the same time, of all jobs; further ones wait.
    #[arg(id = "remote-commands", long = "remote-commands", env = "ELITA_REMOTE_COMMANDS", default_value_t = 64, value_name = "COUNT",
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub commands: u32,
    /// Seconds after which each server is checked again, give or take a tenth: whether it can be reached, and what there
    /// is on it. 0: only when it is new, is reached in another way, or somebody asks.
    #[arg(
        id = "server-check-seconds",
        long = "server-check-seconds",
        env = "ELITA_SERVER_CHECK_SECONDS",
        default_value_t = 3600,
        value_name = "SECONDS"
    )]
    pub check_seconds: u32,
}
