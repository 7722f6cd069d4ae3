//! What of the configuration may change while the proxy runs, and the change.
//!
//! Owns: [`Present`], which is replaced as a whole. Refuses: reading configuration, and knowing what a key
//! is called: that is the binary's.
//! Invariant: a configuration of which anything cannot be used changes nothing. What is fixed for the
//! life of the proxy stays in `Broker::config`; who reads a value from there says that it is.

use std::sync::Arc;
use std::time::Duration;

use stent_pool::{Limits, OPENING_MAX, RETRY_MAX, RETRY_MIN};

use super::Broker;
use crate::auth_query::AuthQuery;
use crate::clock;
use crate::config::{Config, shown};
use crate::error::Error;
use crate::events;
use crate::passwords::Passwords;
use crate::tls;
use crate::users::Users;

/// How long a server may be idle in a proxy that was taken over from.
const REST_MAX: Duration = Duration::from_secs(2);

/// The configuration as it stands, and what is made of it.
pub(crate) struct Present {
    /// All values; the fixed ones are those of the start.
    pub(crate) config: Config,
    /// Who may log in.
    pub(crate) users: Users,
    /// With which passwords we log in to PostgreSQL.
    pub(crate) passwords: Passwords,
    /// Where users are looked up whom the list does not have.
    pub(crate) auth_query: Option<Arc<AuthQuery>>,
    /// TLS towards PostgreSQL, if it is ever spoken.
    pub(crate) server_tls: Option<tls::upstream::Upstream>,
    /// TLS towards clients, if it is served.
    pub(crate) client_tls: Option<tls::clients::Clients>,
}

impl Present {
    /// Makes everything, or says what cannot be made.
    pub(crate) fn new(config: Config) -> Result<Self, Error> {
        Ok(Self {
            users: Users::new(&config)?,
            passwords: Passwords::new(&config)?,
            auth_query: AuthQuery::new(&config).map(Arc::new),
            server_tls: tls::upstream::Upstream::new(
                &config.server_tls,
                config.upstream.endpoints().chain(
                    config.upstream.readers.iter().flat_map(|readers| readers.places.clone()),
                ),
            )?,
            client_tls: tls::clients::Clients::new(&config.client_tls)?,
            config,
        })
    }

    /// What bounds the pools.
    pub(crate) fn limits(&self) -> Limits {
        let config = &self.config;
        Limits {
            pool_size: config.default_pool_size,
            reserve_pool_size: config.reserve_pool_size,
            reserve_pool_timeout: config.reserve_pool_timeout,
            min_pool_size: config.min_pool_size,
            size_rules: config.pool_limits.clone(),
            max_db_connections: config.max_db_connections,
            max_user_connections: config.max_user_connections,
            max_server_connections: config.max_server_connections,
            query_wait_timeout: config.query_wait_timeout,
            server_lifetime: config.server_lifetime,
            server_max_uses: config.server_max_uses,
            server_idle_timeout: config.server_idle_timeout,
            server_check_delay: config.server_check_delay,
            retry_min: RETRY_MIN,
            retry_max: RETRY_MAX,
            class_weights: config.queue_classes.weights.clone(),
            waiters_max: config.max_client_conn.get(),
            opening_max: OPENING_MAX,
        }
    }

    /// Whether servers that were opened before lead elsewhere, or would be opened otherwise now.
    fn leads_elsewhere(&self, before: &Self) -> bool {
        let (now, before) = (&self.config, &before.config);
        !now.upstream.endpoints().eq(before.upstream.endpoints())
            || now.upstream.readers != before.upstream.readers
            || now.upstream.target_session_attrs != before.upstream.target_session_attrs
            || now.server_tls != before.server_tls
    }
}

impl Broker {
    /// The configuration as it stands. It may be another one the next time.
    pub(crate) fn present(&self) -> Arc<Present> {
        Arc::clone(&self.present.lock())
    }

    /// Puts another configuration into force, but for what is fixed.
    pub(crate) fn reload(self: &Arc<Self>, config: Config) -> Result<(), Error> {
        let before = self.present();
        let mut fresh = Present::new(self.with_what_is_fixed(config))?;
        // What was looked up stays known where it would be looked up the same way.
        if fresh.config.auth.query == before.config.auth.query {
            fresh.auth_query.clone_from(&before.auth_query);
        }
        let (limits, moved) = (fresh.limits(), fresh.leads_elsewhere(&before));
        self.memory.set(&fresh.config);
        *self.present.lock() = Arc::new(fresh);
        self.keys.forget();
        let now = clock::now();
        let mut inner = self.inner();
        inner.set_limits(limits, now);
        let classes = &self.present().config.queue_classes;
        inner.classify_all(&before.config.queue_classes, classes);
        if moved {
            for pool in inner.pools_with_servers() {
                inner.retire(pool, now);
            }
        }
        self.leave(inner);
        tokio::task::spawn_local(Arc::clone(self).make_verifiers_ready());
        events::Reloaded { moved }.emit();
        Ok(())
    }

    /// Another proxy serves newcomers: servers that nobody needs any more make room for its own.
    pub(crate) fn give_servers_up(self: &Arc<Self>) {
        let mut limits = self.present().limits();
        limits.min_pool_size = 0;
        limits.size_rules.iter_mut().for_each(|rule| rule.min_pool_size = None);
        let rest = limits.server_idle_timeout.unwrap_or(REST_MAX).min(REST_MAX);
        limits.server_idle_timeout = Some(rest);
        let mut inner = self.inner();
        inner.set_limits(limits, clock::now());
        self.leave(inner);
    }

    /// The same with the values of the start where nothing else can be had.
    fn with_what_is_fixed(&self, config: Config) -> Config {
        let start = &self.config;
        Config {
            listen: start.listen.clone(),
            so_reuseport: start.so_reuseport,
            takeover: start.takeover,
            unix_socket_dir: start.unix_socket_dir.clone(),
            listen_port: start.listen_port,
            admin: start.admin.clone(),
            pool_mode: start.pool_mode,
            workers: start.workers,
            fleet: start.fleet,
            forbidden_state: start.forbidden_state,
            max_prepared_statements: start.max_prepared_statements,
            statement_cache: start.statement_cache,
            shown: shown::reloaded(&start.shown, config.shown),
            ..config
        }
    }
}
