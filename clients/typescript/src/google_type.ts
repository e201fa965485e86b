export * from "./gen/google/type/decimal_pb.js";
export * from "./gen/google/type/money_pb.js";
