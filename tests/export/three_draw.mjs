// Loads take.glb the way docs/guides/programs.md does, draws it unlit at the moments wished for, and posts the pictures.
import * as THREE from 'three';
import { GLTFLoader } from 'three/addons/loaders/GLTFLoader.js';
import { MeshoptDecoder } from 'three/addons/libs/meshopt_decoder.module.js';

async function draw() {
  const wish = await (await fetch('wish.json')).json();
  const loader = new GLTFLoader();
  loader.setMeshoptDecoder(MeshoptDecoder);
  const { scene, animations } = await loader.loadAsync('take.glb');
  const clip = animations.find(({ name }) => name === 'speech');
  const meshes = [];
  scene.traverse((object) => { if (object.isMesh) meshes.push(object); });
  if (wish.unlit) for (const mesh of meshes) mesh.material = new THREE.MeshBasicMaterial({ map: mesh.material.map });
  else scene.add(new THREE.HemisphereLight(0xffffff, 0x888888, 3));
  const canvas = document.createElement('canvas');
  const renderer = new THREE.WebGLRenderer({ canvas, antialias: true, preserveDrawingBuffer: true });
  renderer.setSize(wish.size, wish.size, false);
  renderer.setClearColor(0x000000, 1);
  const camera = new THREE.PerspectiveCamera(wish.fov, 1, wish.near, wish.far);
  camera.position.set(...wish.eye);
  camera.lookAt(...wish.target);
  const mixer = new THREE.AnimationMixer(scene);
  const action = mixer.clipAction(clip);
  action.setLoop(THREE.LoopOnce);
  action.clampWhenFinished = true;
  action.play();
  const pictures = [];
  for (const time of wish.times) {
    mixer.setTime(time);
    renderer.render(scene, camera);
    pictures.push(canvas.toDataURL('image/png'));
  }
  return { pictures, three: THREE.REVISION, meshes: meshes.length, tracks: clip.tracks.map(({ name }) => name) };
}

const answer = await draw().catch((error) => ({ error: `${error}\n${error.stack}` }));
await fetch('done', { method: 'POST', body: JSON.stringify(answer) });
