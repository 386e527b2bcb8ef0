// Holds each object of the array in objects.json against Knative's JSON schema of its kind; answers an array of texts.
import { readFileSync } from "node:fs";

const answers = [];
for (const object of JSON.parse(readFileSync("objects.json", "utf8"))) {
  const module = await import(`@kubernetes-models/knative/${object.apiVersion}/${object.kind}`);
  try {
    new module[object.kind](object).validate();
    answers.push("");
  } catch (error) {
    answers.push(String(error.message));
  }
}
console.log(JSON.stringify(answers));
