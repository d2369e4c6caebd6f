//! Joining, renewing, returning. Names in a certificate are ours; a request brings only its key.

use super::{caller, refuse};
use crate::{cluster::admission, house::House, identity::pki};
use bytes::Bytes;
use holdfast_common::{AgentId, Name, Result};
use holdfast_runtime::pki::ProvenKey;
use holdfast_wire::{
    parse,
    v1::{self, enroll_server::Enroll},
};
use std::sync::Arc;
use tonic::{Request, Response, Status};

pub(crate) struct EnrollService(pub(crate) Arc<House>);

#[tonic::async_trait]
impl Enroll for EnrollService {
    async fn join(
        &self,
        request: Request<v1::JoinRequest>,
    ) -> Result<Response<v1::JoinResponse>, Status> {
        self.joined(request.into_inner()).await.map(Response::new).map_err(refuse)
    }

    async fn join_member(
        &self,
        request: Request<v1::JoinMemberRequest>,
    ) -> Result<Response<v1::JoinMemberResponse>, Status> {
        admission::admit(&self.0, request.into_inner()).await.map(Response::new).map_err(refuse)
    }

    async fn renew(
        &self,
        request: Request<v1::RenewRequest>,
    ) -> Result<Response<v1::RenewResponse>, Status> {
        let agent = caller(&request).agent().map_err(refuse)?;
        let csr = request.into_inner().csr_der;
        self.renewed(agent, &csr).await.map(Response::new).map_err(refuse)
    }

    async fn renew_member(
        &self,
        request: Request<v1::RenewMemberRequest>,
    ) -> Result<Response<v1::RenewResponse>, Status> {
        self.member_renewed(request.into_inner()).await.map(Response::new).map_err(refuse)
    }

    async fn r#return(
        &self,
        request: Request<v1::ReturnRequest>,
    ) -> Result<Response<v1::RenewResponse>, Status> {
        self.returned(request.into_inner()).await.map(Response::new).map_err(refuse)
    }
}

impl EnrollService {
    async fn joined(&self, request: v1::JoinRequest) -> Result<v1::JoinResponse> {
        let name: Option<Name> = parse::name_if_any(Some(&request.name))?;
        let key = ProvenKey::from_request(&request.csr_der)?;
        let enrolled = pki::enrol(&self.0, &request.token, name, &key).await?;
        Ok(v1::JoinResponse {
            agent_id: Bytes::copy_from_slice(enrolled.agent.as_bytes()),
            cluster_id: Bytes::copy_from_slice(self.0.cluster.as_bytes()),
            name: enrolled.name.to_string(),
            certificate_der: Bytes::copy_from_slice(&enrolled.certificate),
            ca_der: Bytes::copy_from_slice(self.0.keys()?.authority.certificate()),
            endpoints: self.0.endpoints(),
        })
    }

    async fn renewed(&self, agent: AgentId, csr: &[u8]) -> Result<v1::RenewResponse> {
        let key = ProvenKey::from_request(csr)?;
        let certificate = pki::renew(&self.0, agent, &key, false).await?;
        self.answer(&certificate)
    }

    async fn returned(&self, request: v1::ReturnRequest) -> Result<v1::RenewResponse> {
        let agent = parse::agent_id(&request.agent_id)?;
        let key = ProvenKey::from_request(&request.csr_der)?;
        let proof = parse::array("the proof", &request.proof)?;
        pki::check_return(&self.0, agent, request.time_ns, &request.csr_der, &proof)?;
        let certificate = pki::renew(&self.0, agent, &key, true).await?;
        self.answer(&certificate)
    }

    async fn member_renewed(&self, request: v1::RenewMemberRequest) -> Result<v1::RenewResponse> {
        let key = ProvenKey::from_request(&request.csr_der)?;
        let certificate = pki::renew_member(&self.0, request.member, &key).await?;
        self.answer(&certificate)
    }

    fn answer(&self, certificate: &[u8]) -> Result<v1::RenewResponse> {
        Ok(v1::RenewResponse {
            certificate_der: Bytes::copy_from_slice(certificate),
            ca_der: Bytes::copy_from_slice(self.0.keys()?.authority.certificate()),
        })
    }
}
