//! The sum that is checked after every event.
//!
//! A proxy that has heard from PostgreSQL in time counts with its limit, one that has not with what
//! it has and what is on its way: it may open nothing more.

use crate::postgres::Kind;
use crate::world::World;

impl World {
    /// What may be there at this moment: what is, and what each may still open.
    pub(crate) fn judge(&mut self) {
        self.physical.clear();
        let mut sum = 0;
        for kind in self.pg.sessions.values() {
            match *kind {
                Kind::Server { proxy } if self.proxies[proxy].lives => {
                    *self.physical.entry(proxy).or_default() += 1;
                }
                Kind::Control { .. } | Kind::Server { .. } | Kind::Other => sum += 1,
            }
        }
        for at in 0..self.proxies.len() {
            if self.proxies[at].lives {
                sum += self.allowed(at);
            }
        }
        self.most = self.most.max(sum);
        let places = self.pg.places();
        assert!(sum as usize <= places, "{sum} of {places} at {:?}", self.now);
    }

    /// What a proxy has or may have.
    pub(crate) fn allowed(&mut self, at: usize) -> u32 {
        let now = self.local(at);
        let physical = self.physical.get(&at).copied().unwrap_or(0);
        let proxy = &mut self.proxies[at];
        let limit = proxy.fleet.limit(now, proxy.held());
        let there = physical + proxy.on_the_way;
        if proxy.fleet.is_heard(now) { limit.max(there) } else { there }
    }
}
