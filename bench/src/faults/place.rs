//! Where a cell plays: the way from an endpoint to PostgreSQL, as its row needs it.
//!
//! Owns: the way (a fault proxy in front of PostgreSQL), and a second one, a name or a network for the
//! rows that move or cut it. Refuses: pretending: what could not be had is in the figures.

use std::net::SocketAddr;

use anyhow::Result;
use stent_testkit::{FaultProxy, Postgres};

use super::names::{NAME, Names};
use super::network::Network;
use super::row::{NEW_ADDRESS, Row};
use crate::endpoint::{Kind, Server};
use crate::lab::Lab;

/// See the module.
pub(super) struct Place {
    pub(super) way: FaultProxy,
    pub(super) names: Option<Names>,
    pub(super) network: Option<Network>,
    /// To the new primary, at an address of its own.
    _new_way: Option<FaultProxy>,
}

impl Place {
    /// Makes it for a row; the standby is that of the row that needs one.
    pub(super) fn make(
        lab: &Lab,
        row: Row,
        kind: Kind,
        standby: Option<&Postgres>,
    ) -> Result<Self> {
        let target = local(lab.postgres.port());
        let network = if row == Row::Partition { Network::make() } else { None };
        let way = match &network {
            Some(network) => FaultProxy::start_on(network.listen()?, target)?,
            None => FaultProxy::start(target)?,
        };
        // A name is moved to another address, where the new primary is; a direct client of ours
        // looks no names up, and its way is moved in place of that.
        let names = match (standby, kind) {
            (None, _) | (_, Kind::Direct) => None,
            (Some(_), _) => Names::make()?,
        };
        let new_way = match (standby, &names) {
            (Some(new), Some(_)) => {
                let address = (NEW_ADDRESS, way.port()).into();
                Some(FaultProxy::start_at(address, local(new.port()))?)
            }
            (None, _) | (_, None) => None,
        };
        Ok(Self { way, names, network, _new_way: new_way })
    }

    /// What the endpoint takes for PostgreSQL.
    pub(super) fn server(&self) -> Server {
        let host = match (&self.names, &self.network) {
            (Some(_), _) => NAME,
            // Some bytes for each cell of a program that ends.
            (None, Some(network)) => Box::leak(network.address().to_string().into_boxed_str()),
            (None, None) => "127.0.0.1",
        };
        Server { host, port: self.way.port() }
    }

    /// How real its fault is, as a figure: 1 where the row has what it asks for, 0 where it has to
    /// make do with less. `None` where there is nothing to ask for.
    pub(super) fn is_real(&self, row: Row, kind: Kind) -> Option<(&'static str, f64)> {
        let figure = |name, is: bool| Some((name, f64::from(u8::from(is))));
        match row {
            Row::Promotion if kind != Kind::Direct => figure("by_name", self.names.is_some()),
            Row::Partition => figure("by_router", self.network.is_some()),
            Row::Promotion
            | Row::KillBackend
            | Row::KillPostmaster
            | Row::StopPostmaster
            | Row::StopAndTerminate
            | Row::Terminate
            | Row::ResetStorm
            | Row::ConnectionsTaken
            | Row::OffHours
            | Row::Pause
            | Row::Drain => None,
        }
    }
}

fn local(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}
