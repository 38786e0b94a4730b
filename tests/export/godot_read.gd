# godot3-server --path PROJECT -s godot_read.gd: what Godot made of take.glb, as one line of JSON.
extends SceneTree

func _init():
	var scene = load("res://take.glb").instance()
	var found = {"shapes": [], "tracks": {}, "turns": 0}
	walk(scene, found)
	print("FOUND " + to_json(found))
	quit()

func walk(node, found):
	if node is MeshInstance:
		for n in range(node.mesh.get_blend_shape_count()):
			found["shapes"].append(node.mesh.get_blend_shape_name(n))
	if node is AnimationPlayer:
		var animation = node.get_animation("speech")
		found["length"] = animation.length
		for track in range(animation.get_track_count()):
			if animation.track_get_type(track) == Animation.TYPE_TRANSFORM:
				found["turns"] += animation.track_get_key_count(track)
				continue
			var keys = []
			for key in range(animation.track_get_key_count(track)):
				keys.append([animation.track_get_key_time(track, key), animation.track_get_key_value(track, key)])
			found["tracks"][animation.track_get_path(track).get_concatenated_subnames()] = keys
	for child in node.get_children():
		walk(child, found)
