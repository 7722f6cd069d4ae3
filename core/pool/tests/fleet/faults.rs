//! What befalls proxies and PostgreSQL, and who comes unexpected.

use std::time::Duration;

use crate::postgres::Kind;
use crate::world::{Admission, Event, MS, World};

impl World {
    /// A proxy is killed: PostgreSQL ends its sessions, each in its time.
    pub(crate) fn kill(&mut self, at: usize) {
        self.proxies[at].lives = false;
        for pid in self.sessions_of(at) {
            let after = MS * self.random.u32(0..50);
            self.after(after, Event::End(pid));
        }
    }

    pub(crate) fn sessions_of(&self, at: usize) -> Vec<u32> {
        let own = |kind: &Kind| match *kind {
            Kind::Control { proxy, .. } | Kind::Server { proxy } => proxy == at,
            Kind::Other => false,
        };
        let sessions = self.pg.sessions.iter().filter(|(_, kind)| own(kind));
        sessions.map(|(pid, _)| *pid).collect()
    }

    /// Somebody ends the control connection of a proxy.
    pub(crate) fn cut_control(&mut self, at: usize) {
        let proxy = &mut self.proxies[at];
        if let (true, Some(pid)) = (proxy.lives && proxy.cut_until <= self.now, proxy.control) {
            self.pg.end(pid);
            proxy.ended = Some(self.now);
            let life = proxy.life;
            let after = self.way(at).saturating_sub(self.now);
            self.after(after.min(20 * MS), Event::Lost(at, life));
        }
    }

    /// Nothing goes through between a proxy and PostgreSQL for so long.
    pub(crate) fn partition(&mut self, at: usize, time: Duration) {
        self.proxies[at].cut_until = self.now + time;
        self.after(Duration::ZERO, Event::Silent(at));
    }

    /// PostgreSQL restarts, and is away for so long.
    pub(crate) fn restart(&mut self, time: Duration) {
        self.down_until = self.now + time;
        self.era += 1;
        self.proxies.iter_mut().for_each(|proxy| proxy.on_the_way = 0);
        let pids: Vec<u32> = self.pg.sessions.keys().copied().collect();
        pids.into_iter().for_each(|pid| self.end(pid));
    }

    /// A program that knows nothing of the fleet takes a place, if there is one.
    pub(crate) fn stranger(&mut self) -> Option<u32> {
        if self.admits() { self.pg.login(Kind::Other) } else { None }
    }

    /// Whether one more may come unexpected now.
    pub(crate) fn admits(&mut self) -> bool {
        let (now, rules) = (self.now, self.rules);
        let Admission::Paced(last) = &mut self.admission else { return true };
        last.retain(|&at| now < at + 3 * rules.interval);
        let admits = last.len() < rules.reserve as usize;
        last.extend(admits.then_some(now));
        admits
    }

    pub(crate) fn stranger_leaves(&mut self, pid: u32) {
        self.pg.end(pid);
    }
}
