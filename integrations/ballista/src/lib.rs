//! Scene-text recognition on many machines: the functions of [`svtrv2_datafusion`] in the scheduler,
//! the executors and the clients of [Apache DataFusion Ballista](ballista).
//!
//! A query is planned by the client, cut into tasks by the scheduler, and run by the executors. All
//! three know the functions and the settings `svtrv2.*`, which travel with the query; weights are
//! files on the executors, or the embedded model.

#![deny(missing_docs, unsafe_code)]

use std::sync::Arc;

use ballista::prelude::{SessionConfigExt, SessionContextExt};
use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::error::{BallistaError, Result};
use ballista_core::registry::BallistaFunctionRegistry;
use ballista_core::utils::default_session_builder;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::start_server;
use datafusion::execution::{FunctionRegistry, SessionState};
use datafusion::prelude::{SessionConfig, SessionContext};
use svtrv2_datafusion::{configured, functions, register};

/// The configuration of sessions: Ballista's with what recognition needs ([`configured`]).
pub fn session_config() -> SessionConfig {
    configured(SessionConfig::new_with_ballista())
}

/// A session's state with the functions.
///
/// # Errors
/// None that depends on the arguments.
pub fn session_state(config: SessionConfig) -> datafusion::error::Result<SessionState> {
    let mut state = default_session_builder(config)?;
    for function in functions()? {
        state.register_udf(function)?;
    }
    Ok(state)
}

/// Where a scheduler listens, and when it takes an executor for dead.
#[derive(Debug, Clone)]
pub struct Scheduler {
    /// The address to listen at.
    pub host: String,
    /// The port to listen at.
    pub port: u16,
    /// Seconds without a sign of life after which an executor is dead and its tasks are run again.
    pub executor_timeout: u64,
}

impl Scheduler {
    /// Runs until the process ends.
    ///
    /// # Errors
    /// The address cannot be used.
    pub async fn run(self) -> Result<()> {
        let config = SchedulerConfig {
            bind_host: self.host.clone(),
            external_host: self.host.clone(),
            bind_port: self.port,
            scheduling_policy: TaskSchedulingPolicy::PushStaged,
            executor_timeout_seconds: self.executor_timeout,
            expire_dead_executor_interval_seconds: (self.executor_timeout / 4).max(1),
            no_executors_grace_period_seconds: self.executor_timeout,
            override_config_producer: Some(Arc::new(session_config)),
            override_session_builder: Some(Arc::new(session_state)),
            ..SchedulerConfig::default()
        };
        let address = format!("{}:{}", self.host, self.port).parse();
        let address = address.map_err(|error: std::net::AddrParseError| {
            BallistaError::Configuration(format!("{}:{}: {error}", self.host, self.port))
        })?;
        let cluster = BallistaCluster::new_from_config(&config).await?;
        start_server(cluster, address, Arc::new(config)).await
    }
}

/// Where an executor listens, which scheduler it works for, and what it may use.
#[derive(Debug, Clone)]
pub struct Executor {
    /// The address to listen at, which other executors and clients use.
    pub host: String,
    /// The port at which results are fetched; the next one is used too.
    pub port: u16,
    /// The scheduler's address.
    pub scheduler_host: String,
    /// The scheduler's port.
    pub scheduler_port: u16,
    /// Tasks at a time.
    pub cores: usize,
    /// The folder for results between the stages of a query.
    pub work_dir: Option<String>,
    /// Seconds between signs of life.
    pub heartbeat: u64,
}

impl Executor {
    /// Runs until the process is told to end.
    ///
    /// # Errors
    /// The address cannot be used; the scheduler does not answer.
    pub async fn run(self) -> Result<()> {
        let mut registry = BallistaFunctionRegistry::default();
        for function in functions()? {
            registry.scalar_functions.insert(function.name().to_owned(), function);
        }
        let config = ExecutorProcessConfig {
            bind_host: self.host.clone(),
            external_host: Some(self.host),
            port: self.port,
            grpc_port: self.port.saturating_add(1),
            scheduler_host: self.scheduler_host,
            scheduler_port: self.scheduler_port,
            scheduler_connect_timeout_seconds: 30,
            vcores: self.cores,
            task_scheduling_policy: TaskSchedulingPolicy::PushStaged,
            work_dir: self.work_dir,
            executor_heartbeat_interval_seconds: self.heartbeat,
            override_function_registry: Some(Arc::new(registry)),
            override_config_producer: Some(Arc::new(session_config)),
            ..ExecutorProcessConfig::default()
        };
        start_executor_process(Arc::new(config)).await
    }
}

/// A session whose queries run on the cluster of a scheduler, `df://host:port`. Tables can be files:
/// `FROM 'crops/*.parquet'`.
///
/// # Errors
/// The address is not one.
pub async fn connect(
    scheduler: &str,
    config: SessionConfig,
) -> datafusion::error::Result<SessionContext> {
    // Ballista replaces the functions of the state by its own.
    let ctx = SessionContext::remote_with_state(scheduler, session_state(config)?).await?;
    let ctx = ctx.enable_url_table();
    register(&ctx)?;
    Ok(ctx)
}
