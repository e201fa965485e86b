//! What calls of a gateway need. Its messages are written by hand: to generate three of them takes longer than all else.

use std::{error::Error, fs, time::Duration};

use tonic::{
    Request, Response, Status,
    client::Grpc,
    codec::CompressionEncoding,
    codegen::http::uri::PathAndQuery,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use tonic_prost::ProstCodec;

/// `allocation.v1.GetShipmentAllocationRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GetShipmentAllocationRequest {
    #[prost(string, tag = "1")]
    pub shipment_reference: String,
}

/// `allocation.v1.GetShipmentAllocationResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GetShipmentAllocationResponse {
    #[prost(message, optional, tag = "1")]
    pub allocation: Option<Allocation>,
}

/// `allocation.v1.Allocation`, as far as it is looked at.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Allocation {
    #[prost(string, tag = "3")]
    pub state_text: String,
}

/// Calls one gateway.
#[derive(Clone)]
pub struct Client(Grpc<Channel>);

impl Client {
    /// Calls over a channel.
    pub fn new(channel: Channel) -> Self {
        Self(Grpc::new(channel))
    }

    /// Compresses what it sends.
    pub fn packing(self) -> Self {
        Self(self.0.send_compressed(CompressionEncoding::Gzip))
    }

    /// Reads the allocation of a shipment within some time.
    pub async fn read(
        &mut self,
        reference: &str,
        time: Duration,
    ) -> Result<Response<GetShipmentAllocationResponse>, Status> {
        let mut request = Request::new(GetShipmentAllocationRequest { shipment_reference: reference.into() });
        request.set_timeout(time);
        self.0.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let path = PathAndQuery::from_static("/allocation.v1.ShipmentAllocationService/GetShipmentAllocation");
        self.0.unary(request, path, ProstCodec::default()).await
    }
}

/// Opens a channel at its first call. Files are the authority's certificate, and the client's certificate and key: none,
/// one or three.
pub fn channel(address: &str, files: &[String]) -> Result<Channel, Box<dyn Error>> {
    let scheme = if files.is_empty() { "http" } else { "https" };
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))?;
    if let [authority, rest @ ..] = files {
        let mut tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(fs::read(authority)?))
            .domain_name("localhost");
        if let [certificate, key] = rest {
            tls = tls.identity(Identity::from_pem(fs::read(certificate)?, fs::read(key)?));
        }
        endpoint = endpoint.tls_config(tls)?;
    }
    Ok(endpoint.connect_lazy())
}
