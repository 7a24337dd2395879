//! `svtrv2-ballista`: scheduler, executor and client in one program.

use std::io::{self, Write};
use std::process::ExitCode;

use ballista_core::error::BallistaError;
use clap::{Parser, Subcommand};
use datafusion::arrow::json::LineDelimitedWriter;
use datafusion::error::{DataFusionError, Result};
use futures::TryStreamExt;
use svtrv2_ballista::{Executor, Scheduler, connect, session_config};
use svtrv2_datafusion::parse;

/// Scene-text recognition in SQL on many machines.
#[derive(Parser)]
#[command(
    version,
    arg_required_else_help = true,
    after_help = "\
RUST_LOG=info shows what scheduler and executors do."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Distribute queries over executors; one for a cluster
    Scheduler {
        #[arg(long, default_value = "127.0.0.1")]
        host: String,
        #[arg(long, default_value_t = 50050)]
        port: u16,
        /// Seconds without a sign of life after which an executor's tasks are given to others
        #[arg(long, default_value_t = 60)]
        executor_timeout: u64,
    },
    /// Run tasks; one for a machine
    Executor {
        /// The address at which the other machines reach this one
        #[arg(long, default_value = "127.0.0.1")]
        host: String,
        /// The port at which results are fetched; the next one is used too
        #[arg(long, default_value_t = 50051)]
        port: u16,
        #[arg(long, default_value = "127.0.0.1")]
        scheduler_host: String,
        #[arg(long, default_value_t = 50050)]
        scheduler_port: u16,
        /// Tasks at a time, and threads of the recogniser; 0 for all cores
        #[arg(long, default_value_t = 0)]
        cores: usize,
        /// The folder for results between the stages of a query
        #[arg(long)]
        work_dir: Option<String>,
        /// Seconds between signs of life
        #[arg(long, default_value_t = 15)]
        heartbeat: u64,
    },
    /// Run statements on a cluster; rows are printed as JSON, an object a line
    Sql {
        #[arg(long, default_value = "df://127.0.0.1:50050")]
        scheduler: String,
        query: String,
    },
}

fn main() -> ExitCode {
    env_logger::init();
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {}", error.strip_backtrace());
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    // The stack that Ballista's own programs give to the planner.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(32 << 20)
        .build()?;
    runtime.block_on(async {
        match command {
            Command::Scheduler { host, port, executor_timeout } => {
                Scheduler { host, port, executor_timeout }.run().await.map_err(failed)
            }
            Command::Executor {
                host,
                port,
                scheduler_host,
                scheduler_port,
                cores,
                work_dir,
                heartbeat,
            } => {
                let cores = threads(cores)?;
                let executor = Executor {
                    host,
                    port,
                    scheduler_host,
                    scheduler_port,
                    cores,
                    work_dir,
                    heartbeat,
                };
                executor.run().await.map_err(failed)
            }
            Command::Sql { scheduler, query } => sql(&scheduler, &query).await,
        }
    })
}

fn failed(error: BallistaError) -> DataFusionError {
    DataFusionError::Execution(error.to_string())
}

/// Gives the recogniser as many threads as there are tasks; returns their number.
fn threads(cores: usize) -> Result<usize> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(cores);
    pool.build_global().map_err(|error| DataFusionError::External(Box::new(error)))?;
    Ok(rayon::current_num_threads())
}

async fn sql(scheduler: &str, query: &str) -> Result<()> {
    let ctx = connect(scheduler, session_config()).await?;
    for statement in parse(query)? {
        let plan = ctx.state().statement_to_plan(statement).await?;
        let frame = ctx.execute_logical_plan(plan).await?;
        // `SET` has had its effect, and has no rows.
        if frame.schema().fields().is_empty() {
            continue;
        }
        let mut batches = frame.execute_stream().await?;
        while let Some(batch) = batches.try_next().await? {
            let mut writer = LineDelimitedWriter::new(io::stdout().lock());
            writer.write(&batch)?;
            writer.finish()?;
        }
    }
    Ok(())
}
