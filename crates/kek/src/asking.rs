//! One source that is asked for many KEKs: each once, and not without end.
//!
//! Where no cluster is there, each object of a location says with what its source is to be asked,
//! and nobody vouches for that. Whoever may write there could plant thousands, each worth a second
//! of Argon2 or a call. So every answer is remembered, one who is away is not asked again, and
//! after so many different questions there is an end.

use crate::keeper::{Environment, load};
use holdfast_common::{Code, Error, Result, limits};
use holdfast_keyring::{Derivation, Kek, KekSource};
use std::sync::Arc;

pub struct Asking<'s> {
    source: &'s KekSource,
    environment: Environment,
    answers: Vec<(Option<Derivation>, Result<Arc<Kek>>)>,
    /// What was said of a provider that does not answer.
    away: Option<Error>,
}

impl<'s> Asking<'s> {
    pub fn new(source: &'s KekSource, environment: Environment) -> Self {
        Self { source, environment, answers: Vec::new(), away: None }
    }

    pub fn source(&self) -> &KekSource {
        self.source
    }

    /// As `load`; the same question is answered from memory.
    pub async fn load(&mut self, derivation: Option<&Derivation>) -> Result<Arc<Kek>> {
        let Some(question) = self.question(derivation) else {
            // Refused by what it says of itself.
            return load(self.source, self.environment, derivation).await.map(Arc::new);
        };
        let known = self.answers.iter().find(|(known, _)| known.as_ref() == question);
        if let Some((_, answer)) = known {
            return answer.clone();
        }
        if let Some(away) = &self.away {
            return Err(away.clone());
        }
        if self.answers.len() >= limits::KEK_QUESTIONS_MAX {
            return Err(self.too_many());
        }
        let answer = load(self.source, self.environment, question).await.map(Arc::new);
        self.away = answer.as_ref().err().filter(|e| e.code == Code::KekUnreachable).cloned();
        self.answers.push((question.cloned(), answer.clone()));
        answer
    }

    /// What the answer depends on, where there is something to read, to derive or to ask.
    fn question<'d>(&self, derivation: Option<&'d Derivation>) -> Option<Option<&'d Derivation>> {
        match (self.source, derivation) {
            (KekSource::File(_) | KekSource::Env(_), None | Some(Derivation::Passphrase(_))) => {
                Some(None)
            }
            (KekSource::PassphraseFile(_) | KekSource::PassphraseEnv(_), of)
                if matches!(of, Some(Derivation::Passphrase(_))) =>
            {
                Some(of)
            }
            (KekSource::Remote(remote), Some(Derivation::Sealed(sealed)))
                if sealed.provider == remote.provider() =>
            {
                Some(derivation)
            }
            _ => None,
        }
    }

    fn too_many(&self) -> Error {
        let message = format!(
            "`{}` was tried for {} different KEKs, and is not tried for more",
            self.source,
            limits::KEK_QUESTIONS_MAX
        );
        Error::new(Code::LimitExceeded, message).next(
            "somebody may have planted key objects in the location: open it with a bundle, \
             --bundle FILE, or name another location",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_common::{ClusterId, Secret, SystemEntropy};
    use holdfast_keyring::{Argon, SealedKek, kek::Provider};
    use std::{
        net::TcpListener,
        sync::atomic::{AtomicUsize, Ordering},
    };

    static READS: AtomicUsize = AtomicUsize::new(0);

    fn counted(name: &str) -> Option<String> {
        (name == "PHRASE").then(|| {
            READS.fetch_add(1, Ordering::Relaxed);
            "a long sentence".to_owned()
        })
    }

    fn of_passphrase() -> Derivation {
        Derivation::Passphrase(Argon::cheapest(&SystemEntropy))
    }

    fn sealed(version: usize) -> Derivation {
        Derivation::Sealed(SealedKek {
            provider: Provider::Transit,
            key: "transit/kek".to_owned(),
            version: version.to_string(),
            cluster: ClusterId::from_bytes([7; 16]),
            kek: Kek::from_secret(Secret::take(&mut [1; 32])).id,
            sealed: b"vault:v1:abcd".to_vec(),
        })
    }

    #[tokio::test]
    async fn each_question_is_asked_once_and_there_is_an_end() {
        let source = "passphrase-env:PHRASE".parse().unwrap();
        let mut asking = Asking::new(&source, counted);
        let first = of_passphrase();
        let kek = asking.load(Some(&first)).await.unwrap();
        for _ in 0..3 {
            assert_eq!(asking.load(Some(&first)).await.unwrap().id, kek.id);
        }
        assert_eq!(READS.load(Ordering::Relaxed), 1);
        for _ in 1..limits::KEK_QUESTIONS_MAX {
            asking.load(Some(&of_passphrase())).await.unwrap();
        }
        let refused = asking.load(Some(&of_passphrase())).await.unwrap_err();
        assert_eq!(refused.code, Code::LimitExceeded);
        assert_eq!(READS.load(Ordering::Relaxed), limits::KEK_QUESTIONS_MAX);
        assert_eq!(asking.load(Some(&first)).await.unwrap().id, kek.id, "it is known");
        // What is not asked does not count.
        assert_eq!(asking.load(Some(&sealed(1))).await.unwrap_err().code, Code::KeyWrong);
    }

    #[tokio::test]
    async fn a_provider_that_is_away_is_not_asked_again() {
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let text = format!("transit:http://{nobody}/transit/kek?token=env:PHRASE");
        let source = text.parse().unwrap();
        let mut asking = Asking::new(&source, |_| Some("token".to_owned()));
        assert_eq!(asking.load(Some(&sealed(1))).await.unwrap_err().code, Code::KekUnreachable);
        let listener = TcpListener::bind(nobody).unwrap();
        listener.set_nonblocking(true).unwrap();
        for version in 1..5 {
            let away = asking.load(Some(&sealed(version))).await.unwrap_err();
            assert_eq!(away.code, Code::KekUnreachable);
        }
        assert!(listener.accept().is_err(), "it was asked again");
    }
}
