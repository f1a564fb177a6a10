"""Clients that others wrote, pointed at a server as users start it: only the host is changed.

`aepp` is a public Python client. Which of its methods are called here, for which row of the contract's section 28:

| Row | Methods | In |
|---|---|---|
| K1 | `configure`, every class's own token | test_aepp_connecting |
| K2 | every call: `Accept` and `Content-Type` on GET, `x-sandbox-name` | everywhere |
| K3 | `ConnectObject.connect` | test_aepp_connecting |
| K4 | `AdobeRequest.update_sandbox_id` | test_aepp_administration |
| K5, K6, K8 | `getFlows`, `getRuns`, `getSourceConnections`, `getTargetConnections` in pages | test_aepp_lists |
| K7, K32 | `getConnections` in pages, with empty parameters | test_aepp_lists |
| K9 | `getConnection`, `getSourceConnection`, …, `getFlow`, `getFlowSpec` | test_aepp_flow_service |
| K10, K23 | `getRun` until its metrics are complete | test_aepp_export |
| K11, K12 | `patchConnection`, `updateSourceConnection`, …, `updateFlow` | test_aepp_flow_service |
| K13 | `postFlowAction` | test_aepp_flow_service |
| K14 | `createRun` | test_aepp_export |
| K15 | `createBaseConnectionDLZTarget`, `ExportDatasetToDataLandingZone.createBaseConnection` | test_aepp_export |
| K16, K29 | `getConnectionSpecIdFromName`, `getFlowSpecIdFromNames`, `getFlows` with filters | test_aepp_lists |
| K17 | `createSourceConnectionDataLake` | test_aepp_export |
| K18 | `createTargetConnectionDatasetToDataLandingZone`, `createTargetConnection` | test_aepp_export |
| K19, K20 | `exportDatasetToDLZ`, `createFlowDataLakeToDataLandingZone`, `createFlow` | test_aepp_export |
| K21 | `ExportDatasetToDataLandingZone.createDataFlow`, `createDataFlowRunIfNotExists` | test_aepp_export |
| K22 | `retryOnNotReadyException`, `createAdHocDatasetExport` | test_aepp_export |
| K24 | `getExportableDatasetsDLZ`, `getExportableDatasets` | test_aepp_lists |
| K25, K26 | `deleteFlow`, `deleteConnection`, `deleteSourceConnection`, … | test_aepp_flow_service |
| K27 | nothing to call: no answer of the server's is a 5xx | everywhere |
| K28 | `FlowManager` | test_aepp_export |
| K30 | `Catalog.getDataSets` in pages | test_aepp_lake |
| K31 | `getLandingZone…`, `exploreLandingZone`, `getLandingZoneContent` | test_aepp_landing_zone |

Beyond those rows: `DataIngestion` and `DataAccess` (test_aepp_lake), `Sandboxes` and `AccessControl`
(test_aepp_administration).
"""
