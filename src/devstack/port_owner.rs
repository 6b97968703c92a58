//! Who listens on an address that we wanted: a name and a pid say more than "address in use".

use std::net::SocketAddr;
use std::process::Command;
use std::{fs, io};

use super::process::command_line;

/// The longest command line that is shown, in characters.
const SHOWN_CHARS: usize = 80;
/// The state of a listening socket in the kernel's table.
const LISTENING: &str = "0A";

/// Whether the address cannot be listened on, and who has it if that can be seen.
pub(super) fn find(address: SocketAddr) -> Option<String> {
    match std::net::TcpListener::bind(address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Some(described(address.port())),
        _ => None,
    }
}

fn described(port: u16) -> String {
    let Some(pid) = from_proc(port).or_else(|| from_lsof(port)) else {
        return "a process of another user".to_owned();
    };
    let command: String = command_line(pid).unwrap_or_default().chars().take(SHOWN_CHARS).collect();
    format!("process {pid}: {}", command.trim())
}

/// Linux: the socket's inode in the kernel's table, then the process that has it open.
fn from_proc(port: u16) -> Option<i32> {
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    let inode = tables.iter().flat_map(|table| table.lines()).find_map(|line| listening_inode(line, port))?;
    let socket = format!("socket:[{inode}]");
    let pids =
        fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.into_iter().find(|pid: &i32| {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        open.filter_map(|fd| fs::read_link(fd.path()).ok())
            .any(|target| target.as_os_str() == socket.as_str())
    })
}

/// The inode in a line of /proc/net/tcp, when it is a listener on `port`.
fn listening_inode(line: &str, port: u16) -> Option<&str> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let local_port = fields.get(1)?.rsplit_once(':')?.1;
    let listens = *fields.get(3)? == LISTENING && u16::from_str_radix(local_port, 16) == Ok(port);
    if listens { fields.get(9).copied() } else { None }
}

fn from_lsof(port: u16) -> Option<i32> {
    let listeners = format!("-iTCP:{port}");
    let output = Command::new("lsof").args(["-nP", &listeners, "-sTCP:LISTEN", "-t"]).output().ok()?;
    String::from_utf8_lossy(&output.stdout).lines().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn whoever_has_the_address_is_named() {
        let taker = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taker.local_addr().unwrap();
        let blamed = find(address).unwrap();
        assert!(blamed.starts_with(&format!("process {}", std::process::id())), "{blamed}");
        drop(taker);
        assert_eq!(find(address), None);
    }
}
