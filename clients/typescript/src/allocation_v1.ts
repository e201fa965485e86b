export * from "./gen/allocation/v1/consignment_allocation_service_pb.js";
export * from "./gen/allocation/v1/core_pb.js";
export * from "./gen/allocation/v1/error_reason_pb.js";
export * from "./gen/allocation/v1/job_pb.js";
export * from "./gen/allocation/v1/service_group_service_pb.js";
export * from "./gen/allocation/v1/shipment_allocation_service_pb.js";
