"""Clients that others wrote, pointed at a server as users start it: only the host is changed.

`aepp` is a public Python client. Which of its methods are called here, for which row of the contract's section 28,
and in which `test_aepp_….py`:

| Row | Methods | In |
|---|---|---|
| K1 | `configure`, every class's own token | connecting |
| K2 | every call: `Accept` and `Content-Type` on GET, `x-sandbox-name` | everywhere |
| K3 | `ConnectObject.connect` | connecting |
| K4 | `AdobeRequest.update_sandbox_id` | administration |
| K5, K6, K8 | `getFlows`, `getRuns`, `getSourceConnections`, `getTargetConnections` in pages | lists |
| K7, K32 | `getConnections` in pages, with empty parameters | lists |
| K9 | `getConnection`, `getSourceConnection`, `getTargetConnection`, `getFlow`, `getFlowSpec` | flow_service |
| K10, K23 | `getRun` until its metrics are complete | export |
| K11, K12 | `patchConnection`, `updateSourceConnection`, `updateTargetConnection`, `updateFlow` | flow_service |
| K13 | `postFlowAction` | flow_service |
| K14 | `createRun` | export |
| K15 | `createBaseConnectionDLZTarget`, `ExportDatasetToDataLandingZone.createBaseConnection` | export |
| K16, K29 | `getConnectionSpecIdFromName`, `getFlowSpecIdFromNames`, `getFlows` with filters | lists |
| K17 | `createSourceConnectionDataLake` | export |
| K18 | `createTargetConnectionDatasetToDataLandingZone`, `createTargetConnection` | export |
| K19, K20 | `exportDatasetToDLZ`, `createFlowDataLakeToDataLandingZone`, `createFlow` | export |
| K21 | `ExportDatasetToDataLandingZone.createDataFlow`, `createDataFlowRunIfNotExists` | export |
| K22 | `retryOnNotReadyException`, `createAdHocDatasetExport` | export |
| K24 | `getExportableDatasetsDLZ`, `getExportableDatasets` | lists |
| K25, K26 | `deleteFlow`, `deleteConnection`, `deleteSourceConnection`, `deleteTargetConnection` | flow_service |
| K27 | nothing to call: no answer of the server's is a 5xx | everywhere |
| K28 | `FlowManager` | export |
| K30 | `Catalog.getDataSets` in pages | lake |
| K31 | `getLandingZone…`, `exploreLandingZone`, `getLandingZoneContent` | landing_zone |

Beyond those rows: `DataIngestion` and `DataAccess` (lake), `Sandboxes` and `AccessControl`
(administration).
"""
