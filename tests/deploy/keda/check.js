// Validates KEDA's resources, read from standard input as a JSON array, against the schemas of their kinds.
import { readFileSync } from "node:fs";
import * as kinds from "@kubernetes-models/keda/keda.sh/v1alpha1";

for (const { apiVersion, kind, ...rest } of JSON.parse(readFileSync(0, "utf-8"))) {
  if (apiVersion !== "keda.sh/v1alpha1" || !(kind in kinds)) throw new Error(`${apiVersion} ${kind} is unknown`);
  new kinds[kind](rest).validate();
  console.log(`${kind} ${rest.metadata.name} is valid`);
}
