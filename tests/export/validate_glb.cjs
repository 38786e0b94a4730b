// node validate_glb.cjs FILE: the Khronos validator's report as JSON.
const fs = require('fs');
const validator = require('gltf-validator');
validator.validateBytes(new Uint8Array(fs.readFileSync(process.argv[2])), { maxIssues: 50 })
  .then((report) => console.log(JSON.stringify(report)))
  .catch((error) => { console.error(error); process.exit(1); });
