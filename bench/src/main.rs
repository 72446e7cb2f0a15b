//! What Elita costs beside a peer, as ratios: both arms of a comparison take turns in one run, and the median of
//! the rounds' ratios counts. Absolute figures are printed for the curious; they mean nothing on another machine.

mod accept;
mod bare;
mod bare_server;
mod call;
mod client;
mod clones;
mod commits;
mod costs;
mod deployments;
mod entries;
mod fake_salt;
mod latency;
mod lists;
mod load;
mod memory;
mod nothing;
mod peers;
mod pgbench;
mod plans;
mod pulls;
mod reads;
mod report;
mod server;
mod site;
mod throughput;
mod uploads;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use self::report::Report;
use self::site::Site;

/// Measures what Elita costs beside Postgres, bare wasmtime and other queues.
#[derive(Parser)]
struct Arguments {
    /// Rounds of each comparison.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Seconds that one arm of a comparison runs in a round.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// File to write the figures to, as JSON.
    #[arg(long, default_value = "target/bench.json", value_name = "FILE")]
    json: PathBuf,
    /// What to measure [default: all but lists, uploads, commits, deployments and pulls].
    #[arg(long, num_args = 1.., value_name = "NAME")]
    only: Vec<Name>,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What can be measured.
#[derive(Clone, Copy, Eq, PartialEq, ValueEnum)]
enum Name {
    /// A plugin call, in every language.
    Calls,
    /// Requests for actions, until they are accepted.
    Accept,
    /// One job at a time on an idle system.
    Latency,
    /// Jobs end to end, beside other queues.
    Jobs,
    /// GET of a job.
    Reads,
    /// The log of one job.
    Entries,
    /// Commits, statements, bytes and processor time of a job, which are not ratios.
    Costs,
    /// The plans of the queries on a table of a million jobs, which are not ratios either.
    Lists,
    /// Uploads of builds, and packages of them.
    Uploads,
    /// Commits of packages to git repositories, and clones of these.
    Commits,
    /// A deployment to a thousand servers.
    Deployments,
    /// Pulls on servers by SSH, beside Ansible.
    Pulls,
}

const ALL: [Name; 7] = [Name::Calls, Name::Accept, Name::Latency, Name::Jobs, Name::Reads, Name::Entries, Name::Costs];

#[derive(Subcommand)]
enum Part {
    /// The peer of GET, in a process of its own.
    #[command(hide = true)]
    BareServer {
        #[arg(long)]
        database_url: String,
    },
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Runtime::new()?;
    match arguments.part {
        Some(Part::BareServer { database_url }) => runtime.block_on(bare_server::serve(&database_url)),
        // On the threads that see to the connections, too.
        None => runtime.block_on(async { tokio::spawn(run(arguments)).await? }),
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { rounds, seconds, json, only, part: _ } = arguments;
    let rounds = usize::from(rounds);
    let site = Site::new().await?;
    let mut report = Report::default();
    for name in if only.is_empty() { ALL.to_vec() } else { only } {
        match name {
            Name::Calls => call::measure(&site, rounds, &mut report).await?,
            Name::Accept => accept::measure(&site, rounds, seconds, &mut report).await?,
            Name::Latency => latency::measure(&site, rounds, seconds, &mut report).await?,
            Name::Jobs => throughput::measure(&site, rounds, seconds, &mut report).await?,
            Name::Reads => reads::measure(&site, rounds, seconds, &mut report).await?,
            Name::Entries => entries::measure(&site, rounds, &mut report).await?,
            Name::Costs => costs::measure(seconds, &mut report).await?,
            Name::Lists => lists::measure(&site, &mut report).await?,
            Name::Deployments => deployments::measure(rounds, &mut report).await?,
            Name::Pulls => pulls::measure(&site, rounds, &mut report).await?,
            Name::Commits => commits::measure(&site, rounds, &mut report).await?,
            Name::Uploads => uploads::measure(&site, rounds, &mut report).await?,
        }
    }
    site.close().await;
    println!("{report}");
    std::fs::write(&json, report.json())?;
    println!("figures: {}", json.display());
    Ok(())
}
