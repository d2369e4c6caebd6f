//! Holdfast under measurement: a coordinator, an agent and the command, three processes.
//!
//! ```text
//!   D/c  coordinator's house    D/a  agent's house    D/location  what counts as stored
//! ```
//!
//! Cost is what all three spend from just before the command until a moment after it, so that
//! what is finished behind the command's back counts too. The wall time is the command's alone.

use super::{
    CommandLine, Part, Repository, Tool, Usage,
    peer::below,
    service::Service,
    threads::{Spent, watch},
};
use crate::files;
use holdfast_common::{Error, Result};
use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    time::Duration,
};

pub struct Holdfast {
    program: PathBuf,
}

impl Holdfast {
    pub fn new(program: PathBuf) -> Self {
        Self { program }
    }

    /// The one that was built together with this program.
    pub fn beside_this_program() -> Result<Self> {
        let own = std::env::current_exe()
            .map_err(|error| Error::io("this program cannot be found", &error))?;
        Ok(Self::new(own.with_file_name("holdfast")))
    }

    /// A new cluster with one agent, asleep.
    pub fn found(&self, dir: &Path) -> Result<House> {
        self.found_over(dir, &[place(dir, "location")], Vec::new())
    }

    /// The same with several locations that are required, by their URLs, and what the coordinator
    /// needs in its environment to open them.
    pub fn found_over(
        &self,
        dir: &Path,
        locations: &[String],
        environment: Vec<(String, String)>,
    ) -> Result<House> {
        files::make_dir(dir)?;
        let mut house = House {
            environment,
            program: self.program.clone(),
            dir: dir.to_owned(),
            address: free_address()?,
            services: Vec::new(),
        };
        house.found(locations)?;
        Ok(house)
    }
}

impl Tool for Holdfast {
    fn name(&self) -> &'static str {
        "Holdfast"
    }

    fn version(&self) -> Result<String> {
        Ok(CommandLine::new(&self.program, "--version", &[]).output()?.trim().to_owned())
    }

    fn create(&self, dir: &Path) -> Result<Box<dyn Repository>> {
        Ok(Box::new(self.found(dir)?))
    }

    fn shown(&self) -> Vec<String> {
        let lines = [
            "coordinator --config C/coordinator.toml",
            "agent --config A/agent.toml",
            "backup --path DATA",
            "restore latest --to TO",
        ];
        lines.iter().map(|line| format!("holdfast {line}")).collect()
    }
}

pub struct House {
    program: PathBuf,
    dir: PathBuf,
    address: String,
    environment: Vec<(String, String)>,
    /// The coordinator, then the agent; empty while asleep.
    services: Vec<Service>,
}

impl House {
    /// Starts both services.
    pub fn rouse(&mut self) -> Result<()> {
        self.start_coordinator()?;
        self.start(ROLES[1], &self.dir.join("a/agent.toml"))
    }

    /// Stops them.
    pub fn rest(&mut self) -> Result<()> {
        while let Some(service) = self.services.pop() {
            service.stop()?;
        }
        Ok(())
    }

    pub fn back_up(&self, source: &Path) -> Result<Usage> {
        self.measure(&self.line("backup --path {}", &[source]), "backup.log")
    }

    /// Reads everything back, as a restore does, and writes nothing.
    pub fn verify(&self) -> Result<Usage> {
        self.measured("verify --all --level full", "verify.log")
    }

    /// What a command of the operator's cost, and the services with it.
    pub fn measured(&self, words: &str, log: &str) -> Result<Usage> {
        self.measure(&self.line(words, &[]), log)
    }

    pub fn location(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A further directory follows from now on.
    pub fn follow(&self, name: &str) -> Result<()> {
        let file = self.dir.join("vault.toml");
        let (add, url) = (format!("location add {name} {{}}"), place(&self.dir, name));
        self.line(&add, &[Path::new(&url)]).output()?;
        let locations = format!("{{ required = [\"main\"], following = [\"{name}\"] }}");
        let text = format!("kind = \"vault\"\nname = \"main\"\n[spec]\nlocations = {locations}\n");
        std::fs::write(&file, text).map_err(|error| files::failed("write", &file, &error))?;
        self.line("apply -f {}", &[&file]).output().map(drop)
    }

    /// Whether every point lies in every location that follows.
    pub fn is_followed(&self) -> Result<bool> {
        let told = self.line("--output json points", &[]).output()?;
        let told: serde_json::Value = serde_json::from_str(&told)
            .map_err(|error| Error::io("the points are not told", &error.into()))?;
        let is_copied = |point: &serde_json::Value| {
            point["locations"].as_array().is_some_and(|locations| locations.len() > 1)
        };
        let points = told["points"].as_array();
        Ok(points.is_some_and(|points| !points.is_empty() && points.iter().all(is_copied)))
    }

    /// A backup, and what the agent's threads and the whole coordinator spent on it.
    pub fn profile(&self, source: &Path) -> Result<(Usage, Spent)> {
        let agent = self.services.last().map_or(0, Service::id);
        watch(agent, || self.back_up(source))
    }

    /// Cluster, first start, enrolment.
    fn found(&mut self, locations: &[String]) -> Result<()> {
        let (house, kek) = (self.dir.join("c"), self.dir.join("kek"));
        let words = format!(
            "cluster init --dir {{}} --name one --region local --listen {} \
             --kek file:{{}} --custody coordinator",
            self.address
        );
        let mut line = CommandLine::new(&self.program, &words, &[&house, &kek]);
        for (at, url) in locations.iter().enumerate() {
            let name = if at == 0 { "main".to_owned() } else { format!("further{at}") };
            line.arguments.extend(["--location".to_owned(), format!("{name}={url}")]);
        }
        line.environment.clone_from(&self.environment);
        line.output()?;
        self.start_coordinator()?;
        let token = self.line("agent token", &[]).output()?;
        let words = format!(
            "agent join --coordinator {} --token {} --dir {{}} --name measured",
            self.address,
            token.trim()
        );
        CommandLine::new(&self.program, &words, &[&self.dir.join("a")]).output()?;
        self.rest()
    }

    fn start_coordinator(&mut self) -> Result<()> {
        self.start(ROLES[0], &self.dir.join("c/coordinator.toml"))
    }

    fn start(&mut self, role: &str, config: &Path) -> Result<()> {
        let config = config.display().to_string();
        let log = self.dir.join(format!("{role}.log"));
        let arguments = [role, "--config", &config];
        let service = Service::start_with(&self.program, &arguments, &self.environment, &log)?;
        self.services.push(service);
        Ok(())
    }

    /// A command of the operator's.
    pub fn line(&self, words: &str, paths: &[&Path]) -> CommandLine {
        let context = self.dir.join("c/operator.toml").display().to_string();
        CommandLine::new(&self.program, words, paths).with("HOLDFAST_CONTEXT", context)
    }

    fn measure(&self, line: &CommandLine, log: &str) -> Result<Usage> {
        let mut before = Vec::new();
        for service in &self.services {
            service.forget_peak()?;
            before.push(service.cpu_seconds()?);
        }
        let mut usage = line.measure(&self.dir.join(log))?;
        std::thread::sleep(AFTERWARDS);
        for ((service, before), process) in self.services.iter().zip(before).zip(ROLES) {
            usage.add(Part {
                process,
                cpu_seconds: service.cpu_seconds()? - before,
                peak_bytes: service.peak_bytes()?,
            });
        }
        Ok(usage)
    }
}

impl Repository for House {
    fn wake(&mut self) -> Result<()> {
        self.rouse()
    }

    fn sleep(&mut self) -> Result<()> {
        self.rest()
    }

    fn backup(&mut self, source: &Path) -> Result<Usage> {
        self.back_up(source)
    }

    fn restore(&mut self, source: &Path, to: &Path) -> Result<(Usage, PathBuf)> {
        let line = self.line("restore latest --to {}", &[to]);
        Ok((self.measure(&line, "restore.log")?, below(to, source)))
    }

    fn stored(&self) -> PathBuf {
        self.dir.join("location")
    }
}

/// The URL of a directory of a house's own.
pub fn place(dir: &Path, name: &str) -> String {
    format!("local:{}", dir.join(name).display())
}

fn free_address() -> Result<String> {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    match address {
        Ok(address) => Ok(address.to_string()),
        Err(error) => Err(Error::io("no port on loopback is free", &error)),
    }
}

/// In the order in which they start.
const ROLES: [&str; 2] = ["coordinator", "agent"];
const AFTERWARDS: Duration = Duration::from_secs(1);
