import type { Schema } from "../../api/client";

export type Rule = Schema["AlertRule"];
export type StoredRule = Schema["StoredAlertRule"];
export type Incident = Schema["AlertIncident"];
export type WholeIncident = Schema["AlertIncidentAnswer"];
export type Delivery = Schema["AlertDelivery"];
export type Mute = Schema["AlertMute"];
