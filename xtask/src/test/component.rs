//! What the black-box tests stand on: nginx, HAProxy, curl, wrk, h2load, and Python packages in a virtual environment of
//! their own.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::step;

/// A Debian package and the program that shows whether it is there.
struct Package {
    name: &'static str,
    program: &'static str,
}

const PACKAGES: [Package; 7] = [
    Package {
        name: "nginx",
        program: "nginx",
    },
    Package {
        name: "haproxy",
        program: "haproxy",
    },
    Package {
        name: "curl",
        program: "curl",
    },
    Package {
        name: "wrk",
        program: "wrk",
    },
    Package {
        name: "nghttp2-client",
        program: "h2load",
    },
    Package {
        name: "python3",
        program: "python3",
    },
    Package {
        name: "util-linux",
        program: "setpriv",
    },
];

/// What pip installs, and only with these hashes.
const REQUIREMENTS: [&str; 3] = [
    "tests/clients/grpc.txt",
    "tests/clients/openai.txt",
    "tests/clients/websockets.txt",
];

/// Makes everything available, by installing it where `install` allows, and gives the names of what is still missing.
pub(super) fn provide(install: bool) -> Result<Vec<String>> {
    let mut missing: Vec<&str> = PACKAGES
        .iter()
        .filter(|package| tests::program(package.program).is_err())
        .map(|package| package.name)
        .collect();
    if !missing.contains(&"python3") && !has_venv() {
        missing.push("python3-venv");
    }
    if !missing.is_empty() && install {
        install_packages(&missing)?;
    }
    let mut absent: Vec<String> = PACKAGES
        .iter()
        .filter(|package| tests::program(package.program).is_err())
        .map(|package| package.name.to_owned())
        .collect();
    if !has_venv() {
        absent.push("python3-venv".to_owned());
    } else if let Err(error) = provide_packages(install) {
        step::warn(&format!("Python's packages cannot be installed: {error:#}"));
        absent.push("Python packages".to_owned());
    }
    if std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").is_ok_and(|text| text.trim() == "2") {
        absent.push("io_uring".to_owned());
    }
    Ok(absent)
}

/// The interpreter of the virtual environment.
pub(super) fn python() -> PathBuf {
    environment().join("bin/python")
}

fn environment() -> PathBuf {
    step::target_dir().join("venv/openai")
}

fn has_venv() -> bool {
    let asked = Command::new("python3")
        .args(["-c", "import venv, ensurepip"])
        .output();
    asked.is_ok_and(|output| output.status.success())
}

/// As root on Debian: installs. Otherwise: says how to.
fn install_packages(missing: &[&str]) -> Result<()> {
    let line = format!(
        "apt-get update && apt-get install --yes --no-install-recommends {}",
        missing.join(" ")
    );
    let root = tests::is_root();
    if !(root && tests::program("apt-get").is_ok()) {
        let sudo = line.replace("apt-get", "sudo apt-get");
        step::warn(&format!(
            "missing: {}. On Debian or Ubuntu:\n    {sudo}",
            missing.join(", ")
        ));
        return Ok(());
    }
    step::say(&format!("installing {}", missing.join(", ")));
    let quiet = |command: &mut Command| {
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(std::process::Stdio::null());
        step::run(command)
    };
    quiet(step::command("apt-get").arg("update"))?;
    quiet(
        step::command("apt-get")
            .args(["install", "--yes", "--no-install-recommends"])
            .args(missing),
    )?;
    // Debian starts both at once; the tests bring their own, on other ports, so a failure to stop them is harmless.
    for server in ["nginx", "haproxy"] {
        if missing.contains(&server) && tests::program("systemctl").is_ok() {
            let _ = step::command("systemctl")
                .args(["disable", "--now", "--quiet", server])
                .output();
        }
    }
    Ok(())
}

/// Installs the pinned packages, once per content of the requirements files.
fn provide_packages(install: bool) -> Result<()> {
    let requirements = REQUIREMENTS.map(|file| step::root().join(file));
    let mut pinned = String::new();
    for file in &requirements {
        pinned += &std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    }
    let stamp = environment().join("requirements.txt");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == pinned) && python().exists() {
        return Ok(());
    }
    anyhow::ensure!(install, "not installed");
    step::run(
        step::command("python3")
            .args(["-m", "venv", "--clear"])
            .arg(environment()),
    )?;
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--require-hashes",
        "--only-binary",
        ":all:",
    ];
    step::run(
        step::command(python()).args(pip).args(
            requirements
                .iter()
                .flat_map(|file| [OsStr::new("--requirement"), file.as_os_str()]),
        ),
    )?;
    std::fs::write(stamp, pinned)?;
    Ok(())
}
