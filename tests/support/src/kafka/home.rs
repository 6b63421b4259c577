//! The files of Kafka in the build's target directory: fetched once by Maven and prepared for a quick
//! start.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{Broker, VERSION, VERSION_VARIABLE};

/// The options of every JVM: small, and quick to start.
const JVM: [&str; 2] = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];

/// The directory of Kafka's files.
#[derive(Debug, Clone)]
pub(super) struct Home(PathBuf);

impl Home {
    /// The jars.
    pub(super) fn libs(&self) -> PathBuf {
        self.0.join("libs")
    }

    /// The first file of a formatted storage, with the features of this version.
    pub(super) fn checkpoint(&self) -> PathBuf {
        self.0.join("bootstrap.checkpoint")
    }

    /// An archive of the classes that a broker loads, which halves the time of its start. A JVM that
    /// cannot use it ignores it.
    pub(super) fn archive(&self) -> PathBuf {
        self.0.join("classes.jsa")
    }

    pub(super) fn java(&self) -> Command {
        let mut java = Command::new("java");
        java.args(JVM);
        if self.archive().exists() {
            java.arg(format!(
                "-XX:SharedArchiveFile={}",
                self.archive().display()
            ));
            java.args(["-Xlog:disable", "-Xlog:all=error:stderr"]);
        }
        java.arg("-cp").arg(format!("{}/*", self.libs().display()));
        java
    }
}

/// Kafka's files. The first call fetches them by Maven and prepares them.
pub(super) fn home() -> Result<Home, String> {
    let runs = |program: &str, argument: &str| {
        let mut command = Command::new(program);
        command
            .arg(argument)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !runs("java", "-version") || !runs("mvn", "--version") {
        return Err("`java` and `mvn` are needed on the PATH".to_owned());
    }
    let exe = std::env::current_exe().map_err(|error| error.to_string())?;
    // Tests are deeper in the target directory than programs.
    let target = exe
        .ancestors()
        // Cargo does not tag a folder that was there before its first build.
        .find(|folder| {
            let has = |name| folder.join(name).exists();
            has("CACHEDIR.TAG") || has(".rustc_info.json")
        })
        .ok_or("the program is outside a target folder")?;
    let version = std::env::var(VERSION_VARIABLE).unwrap_or_else(|_| VERSION.to_owned());
    let at = target.join(format!("kafka-{version}"));
    std::fs::create_dir_all(&at).map_err(|error| format!("{}: {error}", at.display()))?;
    // Of two test runs that begin at the same time only one fetches.
    let lock = File::create(at.join("lock")).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    let (pom, complete) = (at.join("pom.xml"), at.join("complete"));
    let home = Home(at);
    let dependency = |group: &str, artifact: &str, version: &str| {
        format!(
            "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
             <version>{version}</version></dependency>"
        )
    };
    let text = format!(
        "<project><modelVersion>4.0.0</modelVersion><groupId>goka</groupId>\
         <artifactId>kafka-for-tests</artifactId><version>1</version>\
         <dependencies>{}{}{}</dependencies></project>",
        dependency("org.apache.kafka", "kafka_2.13", &version),
        dependency("org.apache.kafka", "kafka-tools", &version),
        dependency("org.slf4j", "slf4j-nop", "1.7.36"),
    );
    let is_ready = home.checkpoint().exists();
    if is_ready && std::fs::read_to_string(&complete).is_ok_and(|fetched| fetched == text) {
        return Ok(home);
    }
    std::fs::write(&pom, &text).map_err(|error| error.to_string())?;
    let output = Command::new("mvn")
        .args(["-q", "-B", "-f"])
        .arg(&pom)
        .arg("dependency:copy-dependencies")
        .arg(format!("-DoutputDirectory={}", home.libs().display()))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("mvn: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "mvn failed: {}",
            String::from_utf8_lossy(&output.stdout)
        ));
    }
    Broker::make_ready(&home)?;
    std::fs::write(complete, text).map_err(|error| error.to_string())?;
    Ok(home)
}
