//! Which file an address is mapped from: the program, or a library.
//!
//! Owns: the list at the end of a dump, which is the kernel's own. Refuses: memory without a file, as
//! compilers at run time make it. Invariant: at most [`MODULES_MAX`] mappings are kept.
//! Source: proc_pid_maps(5).

/// The most mappings of files that are kept: programs have some hundred.
const MODULES_MAX: usize = 8_192;

/// The mapped files of a process.
#[derive(Debug, Default)]
pub(crate) struct Modules(Vec<Module>);

#[derive(Debug)]
struct Module {
    start: u64,
    end: u64,
    /// Of `start` in the file.
    offset: u64,
    path: String,
}

impl Modules {
    /// Reads the end of a dump. A line that is no mapping of a file is left out.
    pub(crate) fn parse(dump: &str) -> Self {
        let lines = dump.lines().skip_while(|line| *line != "MAPPED_LIBRARIES:").skip(1);
        Self(lines.filter_map(Module::parse).take(MODULES_MAX).collect())
    }

    /// The file at an address, and the address's place in it.
    pub(crate) fn of(&self, address: u64) -> Option<(&str, u64)> {
        let module = self.0.iter().find(|m| (m.start..m.end).contains(&address))?;
        Some((&module.path, module.offset.saturating_add(address - module.start)))
    }
}

impl Module {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let offset = words.nth(1)?;
        // A path may have spaces in it, and is the rest of the line.
        let path = line.find('/').map(|at| line[at..].to_owned())?;
        let hex = |text| u64::from_str_radix(text, 16).ok();
        Some(Self { start: hex(start)?, end: hex(end)?, offset: hex(offset)?, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = "heap_v2/512\n  t*: 0: 0 [0: 0]\n10-20 r-xp 0 0:0 0 /before\n\nMAPPED_LIBRARIES:\n\
        1000-2000 r-xp 00003000 08:01 42   /app/the server\n2000-3000 rw-p 00000000 00:00 0\n\
        3000-4000 r-xp 00000000 00:00 0    [vdso]\nnonsense / here\n";

    #[test]
    fn an_address_has_the_file_that_it_is_mapped_from_and_its_place_there() {
        let modules = Modules::parse(DUMP);
        assert_eq!(modules.of(0x1010), Some(("/app/the server", 0x3010)));
        for nowhere in [0x15, 0xfff, 0x2000, 0x3010] {
            assert_eq!(modules.of(nowhere), None, "{nowhere:#x}");
        }
    }
}
